from __future__ import annotations

import numpy as np
import pytest

from serving.errors import ProviderError
from serving.model.artifact import Artifact
from serving.model.preprocess import example_items, preprocessor
from serving.model.session import Session, check_pair, gpu_present
from tests.conftest import TinyCascades


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
@pytest.mark.parametrize("role", ["screen", "expert"])
def test_logits_of_a_batch_are_those_of_its_items(tiny_cascades: TinyCascades, name: str, role: str) -> None:
    artifact = Artifact.open(tiny_cascades.artifact(name, role))
    preprocess = preprocessor(artifact)
    session = Session(artifact, "cpu-fp32")
    item = example_items(artifact.manifest.settings)[0]
    items = [item, np.roll(item, 3), item * 0 + 1]
    together = session.run(preprocess.collate(items))
    assert together.shape == (3, len(artifact.manifest.labels))
    assert together.dtype == np.float32
    for one, row in zip(items, together, strict=True):
        np.testing.assert_allclose(session.run(preprocess.collate([one]))[0], row, atol=1e-4)


def test_the_provider_that_was_got_is_told(tiny_cascades: TinyCascades) -> None:
    session = Session(Artifact.open(tiny_cascades.artifact("tiny-text", "expert")))
    assert session.provider_asked == "CPUExecutionProvider"
    assert session.provider_got == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("precision", "provider"), [("int8", "CUDAExecutionProvider"), ("fp16", "CPUExecutionProvider")]
)
def test_a_wrong_pair_is_refused(precision: str, provider: str) -> None:
    with pytest.raises(ProviderError, match=f"{precision} does not go with {provider}"):
        check_pair(precision, provider)


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_a_gpu_variant_without_a_gpu_is_refused(tiny_cascades: TinyCascades) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "expert"))
    variant = artifact.manifest.variants["cpu-fp32"].model_copy(
        update={"precision": "fp16", "provider": "CUDAExecutionProvider"}
    )
    artifact.manifest.variants["gpu-fp16"] = variant
    with pytest.raises(ProviderError, match="there is no GPU on this machine"):
        Session(artifact, "gpu-fp16")
