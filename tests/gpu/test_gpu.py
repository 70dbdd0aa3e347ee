"""What only a GPU can show (make test-gpu): training there, fp16 published because it was measured, served on CUDA."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from serving.model.artifact import Artifact
from serving.model.device import gpu_present
from serving.model.preprocess import example_items, preprocessor
from serving.model.session import Session
from tests.conftest import optimize

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpu_present(), reason="there is no GPU on this machine")]


@pytest.fixture(scope="module")
def build(tiny_recipes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny text cascade with an fp16 variant of its expert."""
    folder = tmp_path_factory.mktemp("gpu")
    recipe = folder / "recipe.toml"
    text = tiny_recipes["tiny-text"].read_text()
    step = '[[expert]]\nstep = "export"\n'
    recipe.write_text(text.replace(step, f'{step}\n[[expert]]\nstep = "fuse"\nprecision = "fp16"\n'))
    optimize("evaluate", recipe, "--root", tiny_recipes["tiny-text"].parent, "--build", folder / "build", fresh=True)
    return folder / "build"


def test_fp16_is_measured_on_the_gpu_and_published(build: Path) -> None:
    summary = json.loads((build / "summary.json").read_text())
    (verdict,) = [verdict for verdict in summary["verdicts"] if verdict["graph"] == "expert/fuse-fp16"]
    assert verdict["speedup"] is not None
    assert verdict["published"], verdict["reasons"]
    assert Artifact.open(build / "tiny-text-expert").manifest.default_gpu == "gpu-fp16"


def test_the_expert_is_served_on_cuda(build: Path) -> None:
    artifact = Artifact.open(build / "tiny-text-expert")
    served, reference = Session(artifact), Session(artifact, "cpu-fp32")
    assert served.variant == "gpu-fp16"
    assert served.provider_got == "CUDAExecutionProvider"
    batch = preprocessor(artifact).collate([example_items(artifact.manifest.settings)[0]] * 4)
    np.testing.assert_allclose(served.run(batch), reference.run(batch), atol=0.05)


def test_a_profile_on_the_gpu_names_the_commands_for_nsight(build: Path, tmp_path: Path) -> None:
    model = build / "tiny-text-expert"
    quick = ("--rounds", 3, "--runs", 3, "--batch-sizes", "1,2,4", "--out", tmp_path)
    said = optimize("profile", model, "--build", build, *quick, fresh=True).stdout
    assert "nsys profile" in said
    assert "ncu --profile-from-start=off" in said
    facts = json.loads((tmp_path / "tiny-text-expert" / "profile.json").read_text())
    assert facts["variants"]["gpu-fp16"]["operators"]["provider"] == "CUDAExecutionProvider"
    assert {found["device"] for found in facts["checkpoints"].values()} == {"cuda"}
    # The same under NVTX ranges alone, as Nsight runs it.
    assert "run " in optimize("profile", model, "--stages-only", *quick, fresh=True).stdout
