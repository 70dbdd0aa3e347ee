from __future__ import annotations

from pathlib import Path

import pytest

from optimize.errors import ProfileError
from optimize.profiling.subject import Cell, Subject, find
from tests.commands import optimize
from tests.made import make_artifact
from tests.tiny import TinyCascades


def test_items_have_the_length_they_should(tiny_cascades: TinyCascades) -> None:
    subject = find(str(tiny_cascades.artifact("tiny-text", "expert")))
    assert isinstance(subject, Subject)
    assert [len(item) for item in subject.items(Cell(24, 3))] == [24, 24, 24]
    # Words of the vocabulary, so that serving's own tokeniser comes out close to what was asked.
    assert all(20 <= len(item) <= 28 for item in subject.prepare(subject.requests(Cell(24, 5))))


def test_a_model_that_is_nowhere_is_one_line(tiny_cascades: TinyCascades) -> None:
    done = optimize("profile", "nothing-here", home=tiny_cascades.home, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing-here is neither an artifact folder nor in the model store, which has")
    assert "tiny-image-expert, " in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_variant_in_another_runtime_has_no_trace(tmp_path: Path) -> None:
    subject = Subject(make_artifact(tmp_path / "made", ["cpu-int8", "cpu-fp32-openvino"]), "made")
    assert subject.variants(("all",)) == ("cpu-int8",)
    for asked in ((), ("cpu-fp32-openvino",)):
        with pytest.raises(ProfileError, match=r"runs in OpenVINO, .* name another variant with --variant: cpu-int8$"):
            subject.variants(asked)
