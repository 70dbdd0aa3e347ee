"""When `bentoml serve` gives way to the small program, and what it hands over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

# As `bentoml serve` does it, up to the start of the arbiter; the program in its place says what it got.
PLAY = """
import os, socket, sys
import click
from bentoml._internal.utils.circus import create_standalone_arbiter
from bentoml.serving import create_watcher
from circus.sockets import CircusSocket
import serving.control
from serving.control import close_control
how, folder = sys.argv[1:]
serving.control.__file__ = folder + "/serving/control.py"
close_control({{}}, os.environ)

@click.group()
def bentoml(): pass

@bentoml.command({command!r})
def serve():
    more = {{"hook": {{"max_retry": 9}}}}.get(how, {{}})
    watcher = create_watcher("service", ["-m", "one"], working_dir=folder, numprocesses=2, env={{"A": "b"}}, **more)
    sockets = [CircusSocket("api", "127.0.0.1", 0, backlog=9), CircusSocket("expert", path=folder + "/sock")]
    plugins = [{{"use": "circus.plugins.statsd.FullStats"}}] if how == "plugins" else []
    arbiter = create_standalone_arbiter([watcher], sockets=sockets, plugins=plugins, debug=how == "debug")
    # Where it does not give way, Circus begins.
    arbiter.initialize = lambda: (print("Circus", os.getpid()), sys.stdout.flush(), os._exit(0))
    print("before", os.getpid())
    arbiter.start(cb=lambda _: print("told"))

bentoml([{command!r}])
"""
# In the place of the package `serving`, below the folder that the program is looked for in.
PROGRAM = """
import json, os, sys
given = json.load(open(int(sys.argv[2])))
print("program", os.getpid(), json.dumps(given))
"""


def played(tmp_path: Path, how: str = "", command: str = "serve") -> tuple[list[str], Mapping[str, Any] | None]:
    """The lines that were said, each without the process id, and what the program got."""
    script = PLAY.format(command=command)
    package = tmp_path / "serving"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    # Python looks first where it starts, so this must not be the folder of the real package.
    line = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}", how, str(tmp_path)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = [one.split(" ", 2) for one in done.stdout.splitlines()]
    assert len({one[1] for one in said if len(one) > 1}) == 1, "the process stays the same"
    return [one[0] for one in said], json.loads(said[-1][2]) if said[-1][0] == "program" else None


def test_it_hands_over_what_there_is_to_start(tmp_path: Path) -> None:
    said, plan = played(tmp_path)
    assert said == ["before", "told", "program"]
    assert plan is not None
    (watcher,) = plan["watchers"]
    assert watcher["env"].pop("A") == "b"
    assert watcher["env"]["PATH"], "Circus has copied the variables of the process"
    assert {name: watcher[name] for name in ("name", "args", "numprocesses", "working_dir", "stop_children")} == {
        "name": "service",
        "args": ["-m", "one"],
        "numprocesses": 2,
        "working_dir": str(tmp_path),
        "stop_children": True,
    }
    assert plan["sockets"] == [
        {"name": "api", "backlog": 9, "host": "127.0.0.1", "port": 0, "family": 2},
        {"name": "expert", "backlog": 2048, "path": f"{tmp_path}/sock"},
    ]
    assert plan["typed"][0] == sys.executable


@pytest.mark.parametrize("how", ["plugins", "debug", "hook"])
def test_it_stays_where_more_is_asked_than_a_plan_says(tmp_path: Path, how: str) -> None:
    assert played(tmp_path, how) == (["before", "Circus"], None)


def test_another_program_that_serves_stays(tmp_path: Path) -> None:
    assert played(tmp_path, command="mine") == (["before", "Circus"], None)
