"""`python -m optimize profile` on the tiny cascades, once for all tests of its parts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.commands import optimize
from tests.tiny import TinyCascades

EXPERT, SCREEN = "tiny-text-expert", "tiny-image-screen"


@pytest.fixture(scope="session")
def profiled(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The text expert by its tag with PyTorch, the image screen by its folder: what was said and written."""
    folder = tmp_path_factory.mktemp("profile")
    quick = ("--rounds", 6, "--runs", 3, "--batch-sizes", "1,2,4")
    text = optimize(
        *("profile", "tiny-text-expert:latest", "--variant", "all", "--build", tiny_cascades.builds["tiny-text"]),
        *("--lengths", "8,24", "--out", folder, *quick),
        home=tiny_cascades.home,
        fresh=True,
    )
    assert text.stderr == ""  # PyTorch Profiler would tell of its starts and stops
    image = optimize(
        *("profile", tiny_cascades.artifact("tiny-image", "screen"), "--out", folder, *quick), home=tiny_cascades.home
    ).stdout
    read = {name: json.loads((folder / name / "profile.json").read_text()) for name in (EXPERT, SCREEN)}
    return {"folder": folder, "said": {EXPERT: text.stdout, SCREEN: image}, **read}
