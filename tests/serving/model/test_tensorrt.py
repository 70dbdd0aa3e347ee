"""TensorRT without a GPU: what it is told, what is kept, and what is said where it is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from serving.errors import ProviderError
from serving.model import bound, device, tensorrt
from serving.model import session as session_module
from serving.model.artifact import ImageSettings, TextSettings
from serving.model.bound import BoundSession
from serving.model.device import Gpus, Wanted
from serving.model.open_session import open_session
from serving.model.session import Session, require_device
from serving.model.shapes import Shapes
from serving.model.tensorrt import TENSORRT, engines_of, require_tensorrt, tensorrt_options
from tests.made import LABELS, make_artifact

TEXT = Shapes(TextSettings(max_tokens=48, pad_token_id=0, inputs=("input_ids", "attention_mask")))
IMAGE = Shapes(ImageSettings(width=4, height=5, mode="L", mean=(0.5,), std=(0.5,)))
WANTED = Wanted(device="gpu", runtime="tensorrt")


def test_one_profile_holds_every_padded_shape() -> None:
    told = tensorrt_options(1, 0, TEXT, "fp16", None)
    assert told["trt_profile_min_shapes"] == "input_ids:1x8,attention_mask:1x8"
    assert told["trt_profile_opt_shapes"] == told["trt_profile_max_shapes"] == "input_ids:32x48,attention_mask:32x48"
    assert (told["device_id"], told["trt_fp16_enable"], told["trt_bf16_enable"]) == ("1", "1", "0")
    assert not [name for name in told if "cache" in name or "workspace" in name]
    told = tensorrt_options(0, 0, IMAGE, "fp16", None)
    assert told["trt_profile_min_shapes"] == "pixel_values:1x1x5x4"
    assert told["trt_profile_max_shapes"] == "pixel_values:32x1x5x4"


def test_engines_are_kept_where_a_folder_is_named(tmp_path: Path) -> None:
    told = tensorrt_options(0, 512, TEXT, "bf16", tmp_path)
    assert told["trt_engine_cache_path"] == told["trt_timing_cache_path"] == str(tmp_path)
    assert (told["trt_max_workspace_size"], told["trt_fp16_enable"], told["trt_bf16_enable"]) == (str(2**29), "0", "1")


@pytest.mark.parametrize("option", sorted(set(tensorrt_options(0, 1, TEXT, "fp16", Path("/"))) - {"device_id"}))
def test_onnx_runtime_knows_the_options(option: str) -> None:
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime_providers_tensorrt.so")
    assert option.encode() in library.read_bytes()


def test_engines_belong_to_an_artifact_a_variant_and_a_kind_of_gpu_and_the_oldest_go(tmp_path: Path) -> None:
    wanted = [("a" * 64, "gpu-fp16", (8, 0)), ("b" * 64, "gpu-fp16", (8, 0)), ("a" * 64, "gpu-bf16", (9, 0))]
    made = []
    for number, (digest, variant, kind) in enumerate(wanted):
        made.append(engines_of(tmp_path, digest, variant, kind, most=3))
        (made[-1] / "engine").write_text("compiled")
        os.utime(made[-1], (number, number))
    assert len(set(made)) == 3
    assert engines_of(tmp_path, *wanted[0], most=3) == made[0], "which makes it the newest"
    other = engines_of(tmp_path, "c" * 64, "gpu-fp16", (8, 0), most=3)
    assert {path.name for path in tmp_path.iterdir()} == {made[0].name, made[2].name, other.name}
    assert (made[0] / "engine").read_text() == "compiled"
    assert engines_of(tmp_path, "c" * 64, "gpu-fp16", (8, 0), most=1) == other
    assert list(tmp_path.iterdir()) == [other]


def having_a_gpu(monkeypatch: pytest.MonkeyPatch, library: str = "libnvinfer.so.of.nobody") -> None:
    for module in (device, session_module):
        monkeypatch.setattr(module, "find_gpus", lambda: Gpus(1, ""))
        monkeypatch.setattr(module, "compute_capability", lambda gpu: (9, 0))
    monkeypatch.setattr(tensorrt, "LIBRARY", library)


def test_where_it_is_missing_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with `device = "auto"`: the CPU does not stand in for what a setting names."""
    having_a_gpu(monkeypatch)
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32", "gpu-fp16"], golden=False)
    said = r'^gpu_runtime = "tensorrt" is set, and libnvinfer\S+ is not there; install it with `pip install'
    for ask in (require_tensorrt, lambda: require_device(artifact, WANTED), lambda: Session(artifact, wanted=WANTED)):
        with pytest.raises(ProviderError, match=said):
            ask()
    with pytest.raises(ProviderError, match=said):
        Session(artifact, wanted=Wanted(runtime="tensorrt"))
    assert Session(artifact, wanted=Wanted(device="cpu", runtime="tensorrt")).variant == "cpu-fp32"


def test_the_variant_for_gpus_is_opened_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU in the place of a GPU, with the C library in the place of TensorRT's."""
    having_a_gpu(monkeypatch, "libc.so.6")
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32", "gpu-fp16"], golden=False)
    told: list[dict[str, str]] = []

    def on_cpu(
        path: Path, gpu: int, threads: int, shapes: Shapes, labels: int, options: dict[str, str]
    ) -> BoundSession:
        told.append(options)
        return BoundSession(open_session(path, "CPUExecutionProvider", 1), shapes, labels, gpu=None, graphs=False)

    monkeypatch.setattr(bound, "open_in_tensorrt", on_cpu)
    engines = tmp_path / "engines"
    session = Session(artifact, wanted=Wanted(device="gpu", runtime="tensorrt", engines=str(engines)))
    assert (session.variant, session.provider_got, session.lanes) == ("gpu-fp16", TENSORRT, 2)
    (options,) = told
    assert options["trt_engine_cache_path"] == str(engines / f"{artifact.digest[:32]}-gpu-fp16-sm90")


def test_a_provider_that_does_not_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    path, shapes = artifact.variant_path("cpu-fp32"), Shapes(artifact.manifest.settings)

    def refusing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no engine can be built\nin many lines")

    def falling_back(path: Path, provider: str, threads: int, **_: Any) -> Any:
        assert provider == TENSORRT
        return open_session(path, "CPUExecutionProvider", threads)

    for opening, said in (
        (falling_back, "cannot start TensorRT on GPU 0, though its library is there"),
        (refusing, r"^TensorRT cannot run cpu-fp32 on GPU 0: no engine can be built$"),
    ):
        monkeypatch.setattr(bound, "open_session", opening)
        with pytest.raises(ProviderError, match=said):
            bound.open_in_tensorrt(path, 0, 1, shapes, len(LABELS), {})
