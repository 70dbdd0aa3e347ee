"""The layout of pixels and TensorRT on a GPU (make test-gpu)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.model.bound import open_on_gpu
from serving.model.device import Wanted, gpu_present
from serving.model.session import Session
from serving.model.shapes import Shapes
from serving.model.tensorrt import TENSORRT, tensorrt_found
from tests.made import LABELS, make_artifact, pixels

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpu_present(), reason="there is no GPU on this machine")]


@pytest.mark.parametrize("layout", ["auto", "nchw", "nhwc"])
def test_every_layout_gives_the_logits_of_the_cpu(tmp_path: Path, layout: str) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    wanted = Wanted(device="gpu", layout=layout)  # type: ignore[arg-type]  # one of its values
    session = open_on_gpu(
        artifact.variant_path("cpu-fp32"), 0, 1, wanted, Shapes(artifact.manifest.settings), len(LABELS)
    )
    inputs = {"pixel_values": pixels(5)}
    np.testing.assert_allclose(session.run(inputs), Session(artifact).run(inputs), atol=0.05)


@pytest.mark.skipif(not tensorrt_found(), reason="TensorRT is not installed")
def test_tensorrt_gives_the_logits_of_the_cpu_and_keeps_its_engine(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32", "gpu-fp16"], golden=False)
    wanted = Wanted(device="gpu", runtime="tensorrt", engines=str(tmp_path / "engines"))
    inputs = {"pixel_values": pixels(5)}
    for _ in range(2):
        session = Session(artifact, wanted=wanted)
        assert session.provider_got == TENSORRT
        np.testing.assert_allclose(session.run(inputs), Session(artifact, "cpu-fp32").run(inputs), atol=0.1)
    assert list((tmp_path / "engines").glob("*/*.engine"))
