from __future__ import annotations

import re
import subprocess
import sys
import threading

from optimize.progress import Lines, Work
from tests.commands import ROOT

A_RUN = """
import time
from optimize.progress import Lines, console, progress, running

lines = Lines(console.print, every_s=0.2)
with running("screen/distill", lines), progress("teacher outputs", 100, lines=lines) as advance:
    for _ in range(10):
        time.sleep(0.1)
        advance(10)
with running("screen/export", lines):
    time.sleep(0.5)
"""


def test_a_pipe_gets_lines_with_the_step_how_far_it_is_and_how_long_it_will_take() -> None:
    said = subprocess.run(
        [sys.executable, "-c", A_RUN], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout.splitlines()
    counted = [line for line in said if line.startswith("screen/distill: teacher outputs ")]
    assert counted
    assert re.fullmatch(r"screen/distill: teacher outputs \d+ of 100, about \d+ s left", counted[-1])
    assert all(re.fullmatch(r"screen/export, \d+ s so far", line) for line in said if line not in counted)
    assert said[len(counted) :], "a step without a count is told of, too"


def test_an_estimate_counts_what_this_run_has_done() -> None:
    work = Work("recover", total=400, start=200, begun_s=1000.0)
    assert work.describe(1003.0) == "recover 200 of 400, 3 s so far"
    work.done = 250
    assert work.describe(1010.0) == "recover 250 of 400, about 30 s left"


def test_short_pieces_of_work_add_up_to_a_line() -> None:
    said: list[str] = []
    told = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    lines = Lines(say, every_s=0.3)
    number = 0
    while not told.is_set():
        number += 1
        with lines.during(Work(f"piece {number}")):
            told.wait(0.02)
    assert number > 1
    assert said == [f"piece {number}, 0 s so far"]


def test_quick_work_is_quiet() -> None:
    said: list[str] = []
    lines = Lines(said.append, every_s=60)
    with lines.during(Work("quick")):
        pass
    assert not said
