from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.errors import ArtifactError, ProviderError
from serving.model import runtimes
from serving.model import session as session_module
from serving.model.artifact import Artifact
from serving.model.preprocess import example_items, preprocessor
from serving.model.session import Session, check_pair, described, gpu_present, runnable, served_variant
from tests.conftest import ROOT, TinyCascades
from tests.made import make_artifact, pixels


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


class Driver:
    """CUDA's driver, with what its two calls return: 0 for success, 100 for no device."""

    def __init__(self, started: int, counted: int, devices: int) -> None:
        self.started, self.counted, self.devices = started, counted, devices

    def cuInit(self, flags: int) -> int:  # noqa: N802 - its name in the driver
        assert flags == 0
        return self.started

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802 - its name in the driver
        count._obj.value = self.devices
        return self.counted


@pytest.mark.parametrize(
    ("driver", "present"),
    [
        (Driver(0, 0, 1), True),
        (Driver(0, 0, 8), True),
        (Driver(0, 0, 0), False),
        (Driver(100, 0, 1), False),
        (Driver(0, 3, 1), False),
        (None, False),
    ],
    ids=["one", "eight", "none to be seen", "no device", "no count", "no driver"],
)
def test_cudas_driver_says_whether_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, present: bool
) -> None:
    def load(name: str) -> Driver:
        assert name == "libcuda.so.1"
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert gpu_present.__wrapped__() is present


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_gpu_that_may_not_be_used_is_none(visible: str) -> None:
    """For optimize, for the service and for PyTorch alike."""
    code = "import torch; from serving.model.session import gpu_present as g; print(g(), torch.cuda.is_available())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": visible}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_a_gpu_variant_without_a_gpu_is_refused(tiny_cascades: TinyCascades) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "expert"))
    variant = artifact.manifest.variants["cpu-fp32"].model_copy(
        update={"precision": "fp16", "provider": "CUDAExecutionProvider"}
    )
    artifact.manifest.variants["gpu-fp16"] = variant
    with pytest.raises(ProviderError, match="there is no GPU on this machine"):
        Session(artifact, "gpu-fp16")


def test_a_variant_runs_in_its_runtime(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: the extra openvino")
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32", "cpu-fp32-openvino"])
    session = Session(artifact)
    provider = "CPUExecutionProvider"
    assert described(session) == {
        "asked": provider,
        "got": provider,
        "runtime": "openvino",
        "variant": "cpu-fp32-openvino",
    }
    inputs = {"pixel_values": pixels(3)}
    np.testing.assert_allclose(session.run(inputs), Session(artifact, "cpu-fp32").run(inputs), atol=1e-4)


def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (session_module, runtimes):
        monkeypatch.setattr(module, "is_installed", lambda runtime: runtime == "onnxruntime")


def test_without_its_runtime_another_variant_is_served_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_openvino(monkeypatch)
    warnings: list[str] = []
    monkeypatch.setattr(session_module.logger, "warning", warnings.append)
    artifact = make_artifact(tmp_path / "fallen-back", ["cpu-fp32", "cpu-int8", "cpu-fp32-openvino"])
    assert [served_variant(artifact), Session(artifact).variant] == ["cpu-int8"] * 2
    assert warnings == [
        "variant cpu-fp32-openvino of fallen-back runs in OpenVINO, and OpenVINO is not installed; install it with "
        "`pip install '.[openvino]'`; until then cpu-int8 is served, for which the promise was not made"
    ]


def test_without_its_runtime_and_another_variant_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_openvino(monkeypatch)
    artifact = make_artifact(tmp_path / "alone", ["cpu-fp32-openvino"], golden=False)
    with pytest.raises(ProviderError, match=r"^variant cpu-fp32-openvino of alone runs in OpenVINO, and .* install it"):
        served_variant(artifact)
    with pytest.raises(ProviderError, match="OpenVINO is not installed"):
        Session(artifact, "cpu-fp32-openvino")


def test_a_variant_that_is_not_there_is_said_where_it_is_opened(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    assert runnable(artifact.manifest, "gpu-fp16") == "gpu-fp16"
    with pytest.raises(ArtifactError, match="has no variant 'gpu-fp16'; it has cpu-fp32"):
        Session(artifact, "gpu-fp16")
