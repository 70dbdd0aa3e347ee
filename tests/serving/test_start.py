"""How a watcher of Circus starts its processes: the arguments are ours, sockets and variables stay."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.start import PATH, Start


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, {PATH: "/code"}),
        ({"A": "1"}, {"A": "1", PATH: "/code"}),
        ({PATH: "/other"}, {PATH: f"/code{os.pathsep}/other"}),
    ],
)
def test_a_start_keeps_the_variables_and_adds_its_folder(before: dict[str, str] | None, after: dict[str, str]) -> None:
    watcher = SimpleNamespace(cmd="python", args=["-m", "other"], env=before, use_sockets=True)
    Start(arguments=("-m", "ours"), folder=Path("/code")).of(watcher)
    assert (watcher.cmd, watcher.args, watcher.use_sockets) == ("python", ["-m", "ours"], True)
    assert watcher.env == after
