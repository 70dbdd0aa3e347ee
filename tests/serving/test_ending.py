"""A process that cannot serve ends with one sentence, and a worker ends after its server."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from serving.ending import end_after, in_one_sentence
from serving.errors import ArtifactError
from tests.commands import ROOT


def test_an_error_ends_the_process_with_its_message_and_what_it_is_about() -> None:
    with pytest.raises(SystemExit, match=r"^a-screen:1: manifest\.json is missing$"), in_one_sentence("a-screen:1"):
        raise ArtifactError("manifest.json is missing")


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), in_one_sentence("a-screen:1"):
        raise ZeroDivisionError


# A server that starts a worker and is killed, before the worker looks or after. The worker says what ends it.
SERVER = """
import os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=sys.stdout)
time.sleep(60)
"""
WORKER = """
import signal, sys, time
from serving.ending import end_after
signal.signal(signal.SIGTERM, lambda *_: (print("terminated", flush=True), sys.exit()))
if {late}:
    print("started", flush=True)
    sys.stdin.read(1)
end_after(sys.argv[1])
print("watches", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("late", [False, True], ids=["while the worker runs", "before the worker looks"])
def test_a_worker_ends_after_its_server(late: bool) -> None:
    line = [sys.executable, "-c", SERVER, WORKER.format(late=late)]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == ("started\n" if late else "watches\n")
        server.kill()
        server.wait()
        if late:
            server.stdin.write("\n")
            server.stdin.flush()
        assert server.stdout.read().endswith("terminated\n"), "the pipe ends with the worker"


def test_a_worker_that_nobody_started_goes_on() -> None:
    before = threading.active_count()
    end_after(None)
    assert threading.active_count() == before


def test_a_worker_that_another_process_started_than_the_one_named_goes_on() -> None:
    before = threading.active_count()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        end_after(str(other.pid))
        assert threading.active_count() == before
