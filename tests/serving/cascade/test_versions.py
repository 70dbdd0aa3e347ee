"""The versions that the processes of a server agree on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from serving.cascade.versions import Versions, Wanted
from tests.conftest import ROOT

OTHER = """
import sys
from pathlib import Path
from serving.cascade.versions import Versions
versions = Versions(Path(sys.argv[1]))
versions.want("b", "v2", "e2")
versions.serves({"a": "v1", "b": "v2"})
print(versions.wanted()["a"].version, flush=True)
sys.stdin.read()
"""


def test_processes_read_what_one_of_them_wants_and_what_each_serves(tmp_path: Path) -> None:
    ours = Versions(tmp_path)
    assert (ours.wanted(), ours.served("a")) == ({}, [])
    ours.want("a", "v1", "e1")
    ours.serves({"a": "v9"})
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "v1\n"
    assert ours.wanted() == {"a": Wanted("v1", "e1"), "b": Wanted("v2", "e2")}
    assert sorted(ours.served("a")) == ["v1", "v9"]
    assert ours.served("b") == ["v2"]
    other.communicate("")
    assert ours.served("a") == ["v9"], "the other process has ended"


def test_what_is_asked_for_last_counts(tmp_path: Path) -> None:
    for folder in (tmp_path, None):
        versions = Versions(folder)
        versions.want("a", "v1", "e1")
        versions.want("a", "v2", "e2")
        versions.serves({"a": "v2"})
        assert versions.wanted() == {"a": Wanted("v2", "e2")}
        assert versions.served("a") == ["v2"]
        assert versions.served("b") == []


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    Versions(tmp_path).want("a", "v1", "e1")
    Versions(tmp_path).serves({"a": "v1"})
    assert {path.name for path in tmp_path.iterdir()} == {
        "versions.json",
        "versions.lock",
        f"serves-{os.getpid()}.json",
    }
