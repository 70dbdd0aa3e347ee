"""Golden items: they hold where they were made, and show an artifact that computes something else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.errors import ArtifactError
from serving.model.artifact import Artifact, Machine, VariantName
from serving.model.golden import GOLDEN, TOLERANCE, Golden, GoldenCheck, check_golden, this_machine
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.artifacts import change_weight, claim, forge_golden, leave_golden_out
from tests.conftest import TinyCascades
from tests.made import make_artifact


def check(folder: Path, variant: VariantName) -> GoldenCheck:
    artifact = Artifact.open(folder)
    return check_golden(artifact, Runner(Session(artifact, variant), preprocessor(artifact)))


@pytest.fixture
def screen(tiny_cascades: TinyCascades, tmp_path: Path) -> Path:
    """A screen's artifact folder, to be changed."""
    return Path(shutil.copytree(tiny_cascades.artifact("tiny-text", "screen"), tmp_path / "screen"))


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
@pytest.mark.parametrize("role", ["screen", "expert"])
def test_golden_items_hold_where_they_were_made(tiny_cascades: TinyCascades, name: str, role: str) -> None:
    folder = tiny_cascades.artifact(name, role)
    manifest = Artifact.open(folder).manifest
    assert manifest.machine == this_machine()
    assert GOLDEN in manifest.files
    for variant in manifest.variants:
        found = check(folder, variant)
        assert (found.against, found.items, found.other_labels) == ("", 8, 0)
        assert found.gap_share is not None
        assert found.gap_share < TOLERANCE["fp32"]


@pytest.mark.parametrize("variant", ["cpu-fp32", "cpu-int8"])
@pytest.mark.parametrize("change", [change_weight, forge_golden])
def test_another_weight_and_forged_logits_are_found(
    screen: Path, change: Callable[[Path, str], None], variant: VariantName
) -> None:
    change(screen, variant)
    claim(screen)
    found = check(screen, variant)
    assert found.against.startswith(f"tiny-text-screen {variant} does not compute here what was certified")
    assert "certified on" not in found.against, "it was certified on this machine"
    assert found.gap_share is not None
    assert found.gap_share > TOLERANCE["int8"]
    assert found.other_labels > 0


def test_another_machine_is_named(screen: Path) -> None:
    forge_golden(screen, "cpu-fp32")
    claim(screen)
    artifact = Artifact.open(screen)
    old = Machine(processor="An old CPU", features=("avx2",), onnxruntime="1.20.0")
    made_there = Artifact(screen, artifact.manifest.model_copy(update={"machine": old}))
    runner = Runner(Session(made_there, "cpu-fp32"), preprocessor(made_there))
    against = check_golden(made_there, runner).against
    assert f"certified on An old CPU (avx2; ONNX Runtime 1.20.0), this is {this_machine()}; serve it on such" in against


def test_an_artifact_without_golden_items_has_no_promise(screen: Path) -> None:
    leave_golden_out(screen, "")
    claim(screen)
    found = check(screen, "cpu-fp32")
    assert found.against == "tiny-text-screen has no golden items for cpu-fp32: publish it again"
    assert (found.items, found.gap_share) == (0, None)


def test_an_answer_that_is_no_number_is_another_answer(screen: Path) -> None:
    golden = Golden.read(screen)
    nothing = np.full_like(golden.logits["cpu-fp32"], np.nan)
    Golden(items=golden.items, logits={"cpu-fp32": nothing}).save(screen)
    claim(screen)
    found = check(screen, "cpu-fp32")
    assert found.against
    assert found.gap_share is None


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_a_file_that_cannot_be_read_is_refused(screen: Path, content: bytes) -> None:
    (screen / GOLDEN).write_bytes(content)
    claim(screen)
    with pytest.raises(ArtifactError, match=r"golden\.npz holds no golden items that can be read"):
        check(screen, "cpu-fp32")


def test_no_golden_item_is_refused(screen: Path) -> None:
    Golden(items=(), logits=Golden.read(screen).logits).save(screen)
    claim(screen)
    with pytest.raises(ArtifactError, match="must hold at least one golden item, got none"):
        check(screen, "cpu-fp32")


def test_logits_of_another_shape_are_refused(screen: Path) -> None:
    golden = Golden.read(screen)
    Golden(items=golden.items, logits={"cpu-fp32": golden.logits["cpu-fp32"][:, :1]}).save(screen)
    claim(screen)
    with pytest.raises(ArtifactError, match="golden logits must have the shape"):
        check(screen, "cpu-fp32")


def test_the_same_items_and_logits_are_the_same_bytes(screen: Path) -> None:
    before = (screen / GOLDEN).read_bytes()
    golden = Golden.read(screen)
    assert len(golden.items) == 8
    # In which order the variants are told depends on which was the faster one.
    for variants in (list(golden.logits), list(reversed(golden.logits))):
        replace(golden, logits={name: golden.logits[name] for name in variants}).save(screen)
        assert (screen / GOLDEN).read_bytes() == before


def test_golden_items_run_in_the_runtime_of_the_variant(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: the extra openvino")
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32", "cpu-fp32-openvino"])
    check = check_golden(artifact, Runner(Session(artifact), preprocessor(artifact)))
    assert (check.against, check.items) == ("", 4)
    assert this_machine().openvino is None
    assert ", OpenVINO 20" in str(this_machine(openvino=True))
