"""The log of requests is written in a thread."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TextIO

from serving.watch.log import LogWriter
from tests.conftest import ROOT


def pipe() -> tuple[TextIO, TextIO]:
    read, write = os.pipe()
    return os.fdopen(read), os.fdopen(write, "w")


def test_lines_are_written_soon_and_in_order() -> None:
    reader, out = pipe()
    log = LogWriter(out)
    for number in range(100):
        log.write(f"{number}\n")
    assert [reader.readline() for _ in range(100)] == [f"{number}\n" for number in range(100)]
    log.write("last\n")
    log.close()
    assert reader.readline() == "last\n"


def test_a_reader_that_stands_still_holds_nobody_and_learns_what_it_missed() -> None:
    reader, out = pipe()
    log = LogWriter(out, most_waiting=10)
    line = "x" * 100_000 + "\n"  # more than a pipe takes
    log.write(line)
    until(lambda: log._lines.empty())  # the thread has it, and waits for the reader
    for _ in range(30):
        log.write("more\n")
    assert reader.readline() == line
    assert [reader.readline() for _ in range(10)] == ["more\n"] * 10
    assert reader.readline() == '{"lines_left_out": 20}\n'
    log.close()


def test_the_last_lines_are_written_when_the_process_ends() -> None:
    code = "from serving.watch.log import LogWriter; LogWriter().write('last words\\n')"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.returncode) == ("last words\n", 0)


def test_a_line_on_standard_output_is_there_soon() -> None:
    write = "from serving.watch.log import LogWriter; LogWriter().write('a line\\n')"
    script = f"import sys; {write}; sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "a line\n", "the process still runs, and has not been flushed by its end"
    finally:
        process.communicate(timeout=20)


def until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.001)
