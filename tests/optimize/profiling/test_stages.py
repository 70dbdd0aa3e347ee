from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.commands import optimize
from tests.optimize.profiling.conftest import EXPERT, SCREEN
from tests.tiny import TinyCascades


def test_stages_are_those_of_a_request(profiled: dict[str, Any]) -> None:
    for name, first in ((EXPERT, "tokenise"), (SCREEN, "decode")):
        for found in profiled[name]["variants"].values():
            assert set(found["stages"]) == {first, "collate", "run", "read"}
            assert all(stage["median_ms"] > 0 for stage in found["stages"].values())


def test_the_stages_alone_run_no_profiler(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    model = tiny_cascades.artifact("tiny-text", "screen")
    said = optimize("profile", model, "--stages-only", "--rounds", 3, "--out", tmp_path).stdout
    assert [line.split()[2] for line in said.splitlines()] == ["tokenise", "collate", "run", "read"]
    assert not list(tmp_path.iterdir())
