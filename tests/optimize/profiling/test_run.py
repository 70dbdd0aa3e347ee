"""python -m optimize profile: on the tiny cascades, as a user runs it; its knee on curves with a known one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimize.errors import ProfileError
from optimize.profiling.run import Settings, profile
from optimize.profiling.subject import find
from serving.errors import SieveError
from tests.conftest import TinyCascades


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"variants": ("gpu-fp16",)}, "tiny-text-screen has no variant 'gpu-fp16'; it has "),
        ({"lengths": (8, 99)}, "tiny-text-screen takes lengths of 3 to 48 tokens, got 99; choose others"),
        ({"trace_length": 2}, "tiny-text-screen takes lengths of 3 to 48 tokens, got 2; choose others"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"batch_sizes": (4, 0)}, "batch sizes must be at least 1, got 0"),
        ({"build": Path("nowhere")}, "--build nowhere: neither a folder nor a recipe's name below build/; "),
        (
            {"build": Path("tests")},
            "tests has no checkpoint of teacher/fine-tune, which tiny-text-screen was made with",
        ),
    ],
)
def test_what_cannot_be_profiled_is_told_before_anything_is_measured(
    tiny_cascades: TinyCascades, tmp_path: Path, asked: dict[str, Any], says: str
) -> None:
    subject = find(str(tiny_cascades.artifact("tiny-text", "screen")))
    with pytest.raises(SieveError) as raised:
        profile([subject], Settings(**asked, out=tmp_path / "out"), "")
    assert str(raised.value).startswith(says)
    assert not (tmp_path / "out").exists()


def test_one_model_twice_is_refused(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    subject = find(str(tiny_cascades.artifact("tiny-text", "screen")))
    with pytest.raises(ProfileError, match="tiny-text-screen was named 2 times"):
        profile([subject, subject], Settings(out=tmp_path), "")
