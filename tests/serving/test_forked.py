"""Processes that are forks: they have what a new interpreter has, and nothing more of the process they come from.

Each test forks from a process of its own, since this one has threads.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Forks a module, and says how it ended. Every descriptor but the one named is closed in the fork.
PARENT = """
import asyncio, atexit, logging, os, signal, sys
from serving.forked import Forked, start_process
kept, lost = os.pipe()
os.set_inheritable(kept, True)
atexit.register(print, "the end of the parent")
signal.signal(signal.SIGTERM, lambda *_: print("a handler of the parent"))
logging.basicConfig(format="the parent: %(message)s", stream=sys.stdout)
print("written once, and late")

async def main():
    line = [sys.executable, "-m", "played", str(kept), str(lost), {how!r}]
    env = {{"ONLY": "this", "PYTHONPATH": {folder!r}}}
    process = start_process(os.environ, line, cwd={folder!r}, env=env, preexec_fn=os.setsid, close_fds=False)
    assert isinstance(process, Forked)
    assert process.pid == os.getpid() or process.ppid() == os.getpid()
    process.wait()
    print("ended", process.poll())

asyncio.run(main())
"""
PLAYED = """
import asyncio, atexit, logging, os, signal, sys, threading
kept, lost, how = sys.argv[1:]

def is_open(number):
    try:
        return bool(os.fstat(int(number)))
    except OSError:
        return False

async def loop():
    return "a loop of its own"

print("runs as", __name__, dict(os.environ), sys.orig_argv[1:3])
print("is", os.getcwd() == sys.path[0], os.getsid(0) == os.getpid())
print("open", is_open(kept), is_open(lost), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, asyncio.run(loop()))
print("shown", open("/proc/self/cmdline").read().replace(chr(0), " ").split()[1:3])
logging.basicConfig(format="the fork: %(message)s", stream=sys.stdout)
logging.warning("a log of its own")
atexit.register(print, "the end of the fork")
threading.Timer(0.2, print, ["a thread has ended"]).start()
if how == "says":
    sys.exit("one sentence")
if how == "fails":
    raise ValueError("a failure")
if how == "killed":
    os.kill(os.getpid(), signal.SIGTERM)
sys.exit(int(how))
"""


def forked(tmp_path: Path, how: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "played.py").write_text(PLAYED)
    line = [sys.executable, "-c", PARENT.format(how=how, folder=str(tmp_path))]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)


def test_a_fork_has_what_a_new_interpreter_has(tmp_path: Path) -> None:
    done = forked(tmp_path, "0")
    variables = {"ONLY": "this", "PYTHONPATH": str(tmp_path)}
    assert done.stdout.splitlines() == [
        "written once, and late",
        f"runs as __main__ {variables} ['-m', 'played']",
        "is True True",
        "open True False True a loop of its own",
        "shown ['-m', 'played']",
        "the fork: a log of its own",
        "a thread has ended",
        "the end of the fork",
        "ended 0",
        "the end of the parent",
    ]


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [("3", 3, ""), ("says", 1, "one sentence\n"), ("fails", 1, "ValueError: a failure\n"), ("killed", -15, "")],
)
def test_the_end_of_a_fork_is_told(tmp_path: Path, how: str, status: int, said: str) -> None:
    done = forked(tmp_path, how)
    assert f"ended {status}\n" in done.stdout
    assert done.stdout.count("the end of the parent") == 1
    assert done.stderr.endswith(said)


def test_memory_is_shared_until_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "played.py").write_text(
        "import parents\n"
        "fields = dict(line.split(':') for line in open('/proc/self/smaps_rollup') if line.count(':') == 1)\n"
        "print(len(parents.LARGE), fields['Private_Dirty'].split()[0])\n"
    )
    (tmp_path / "parents.py").write_text("LARGE = bytearray(50_000_000)\nLARGE[::1000] = bytes(len(LARGE[::1000]))\n")
    script = (
        f"import os, sys; sys.path.append({str(tmp_path)!r}); import parents\n"
        "from serving.forked import start_process\n"
        f"env = {{'PYTHONPATH': {str(tmp_path)!r}}}\n"
        f"line = [sys.executable, '-m', 'played']\n"
        f"start_process(os.environ, line, cwd={str(tmp_path)!r}, env=env, preexec_fn=os.setsid).wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    size, own_kb = map(int, done.stdout.split())
    assert size == 50_000_000
    assert own_kb < 25_000


def test_another_command_is_started_as_ever(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from serving.forked import start_process\n"
        f"line = ['sh', '-c', 'echo $ONLY; exit 4']\n"
        f"given = {{'cwd': {str(tmp_path)!r}, 'env': {{'ONLY': 'this'}}, 'preexec_fn': os.setsid}}\n"
        "process = start_process(os.environ, line, **given)\n"
        "print(process.wait())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "this\n4\n"
