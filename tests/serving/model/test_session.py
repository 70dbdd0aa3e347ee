from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.errors import ArtifactError, ProviderError
from serving.model import bound, device, runtimes
from serving.model import session as session_module
from serving.model.artifact import Artifact
from serving.model.bound import BoundSession
from serving.model.device import Gpus, Wanted, gpu_present
from serving.model.open_session import open_session
from serving.model.preprocess import example_items, preprocessor
from serving.model.session import Session, check_pair, described, model_labels, require_device, runnable, served_variant
from serving.model.shapes import Shapes
from tests.conftest import TinyCascades
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
    assert session.gpu_missing is None
    assert session.provider_asked == "CPUExecutionProvider"
    assert session.provider_got == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("precision", "provider"),
    [("int8", "CUDAExecutionProvider"), ("fp16", "CPUExecutionProvider"), ("bf16", "CPUExecutionProvider")],
)
def test_a_wrong_pair_is_refused(precision: str, provider: str) -> None:
    with pytest.raises(ProviderError, match=f"{precision} does not go with {provider}"):
        check_pair(precision, provider)


def having_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    found = Gpus(count, "" if count else "nobody has plugged one in")
    for module in (device, session_module):
        monkeypatch.setattr(module, "find_gpus", lambda: found)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(session_module.logger, "warning", said.append)
    return said


def test_without_a_gpu_the_cpu_serves_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    having_gpus(monkeypatch, 0)
    artifact = make_artifact(tmp_path / "without-a-gpu", ["cpu-int8", "gpu-fp16"], golden=False)
    opened = [Session(artifact) for _ in range(2)]
    assert {(session.variant, session.device, session.lanes) for session in opened} == {("cpu-int8", "cpu", 1)}
    assert all(session.gpu_missing for session in opened)
    assert warnings == [
        "without-a-gpu has gpu-fp16 for a GPU, and nobody has plugged one in; cpu-int8 is served on the CPU; say "
        'device = "cpu" if that is wanted'
    ]


def test_what_is_wanted_on_the_cpu_needs_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    having_gpus(monkeypatch, 2)
    artifact = make_artifact(tmp_path / "on-the-cpu", ["cpu-int8", "gpu-fp16"], golden=False)
    assert served_variant(artifact) == "gpu-fp16"
    session = Session(artifact, wanted=Wanted(device="cpu"))
    assert (session.variant, session.gpu_missing) == ("cpu-int8", False)
    assert warnings == []
    with pytest.raises(ProviderError, match=r'and device = "cpu" is set; use cpu-int8'):
        Session(artifact, "gpu-fp16", wanted=Wanted(device="cpu"))


def test_a_gpu_that_is_demanded_is_had_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    both = make_artifact(tmp_path / "both", ["cpu-fp32", "gpu-fp16"], golden=False)
    one = make_artifact(tmp_path / "one", ["cpu-fp32"], golden=False)
    having_gpus(monkeypatch, 0)
    with pytest.raises(ProviderError, match="needs a GPU, and nobody has plugged one in"):
        Session(both, wanted=Wanted(device="gpu"))
    with pytest.raises(ProviderError, match="variant gpu-fp16 of both runs on CUDAExecutionProvider, and nobody"):
        Session(both, "gpu-fp16")
    having_gpus(monkeypatch, 1)
    with pytest.raises(ProviderError, match="needs a variant for a GPU, and one has none; publish it with the step"):
        Session(one, wanted=Wanted(device="gpu"))
    with pytest.raises(ProviderError, match="and one has none"):
        require_device(one, Wanted(device="gpu"))
    for device_of in ("auto", "cpu"):
        require_device(one, Wanted(device=device_of))
    require_device(both, Wanted(device="gpu"))
    assert warnings == []


def having_capability(monkeypatch: pytest.MonkeyPatch, *versions: tuple[int, int]) -> None:
    having_gpus(monkeypatch, len(versions))
    monkeypatch.setattr(device, "compute_capability", lambda gpu: versions[gpu])


def test_bf16_is_served_where_every_gpu_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    brain = make_artifact(tmp_path / "brain", ["cpu-fp32", "gpu-bf16"], golden=False)
    both = make_artifact(tmp_path / "both-halves", ["cpu-fp32", "gpu-bf16", "gpu-fp16"], golden=False)
    assert both.manifest.default_gpu == "gpu-bf16"
    having_capability(monkeypatch, (8, 0), (7, 5))
    for artifact in (brain, both):
        assert served_variant(artifact) == "gpu-bf16"
    assert served_variant(both, Wanted(device="gpu:0,1")) == "gpu-fp16"
    assert warnings == []
    having_capability(monkeypatch, (7, 5))
    said = r"bfloat16 needs compute capability 8\.0 \(Ampere\), and GPU 0 has 7\.5"
    with pytest.raises(ProviderError, match=rf"brain has gpu-bf16, and {said}; publish it with the step fuse"):
        require_device(brain, Wanted(device="gpu"))
    with pytest.raises(ProviderError, match=rf"variant gpu-bf16 of brain: {said}; use cpu-fp32"):
        Session(brain, "gpu-bf16")
    assert Session(brain).variant == "cpu-fp32"
    (warning,) = warnings
    assert warning.startswith(
        "brain has gpu-bf16 for a GPU, and bfloat16 needs compute capability 8.0 (Ampere), and GPU"
    )
    having_gpus(monkeypatch, 0)
    assert served_variant(brain, Wanted(device="cpu")) == "cpu-fp32"


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_cuda_that_does_not_start_leaves_the_cpu_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    """ONNX Runtime is really asked for CUDA: the machine is only said to have a GPU."""
    having_gpus(monkeypatch, 1)
    artifact = make_artifact(tmp_path / "broken-cuda", ["cpu-fp32", "gpu-fp16"], golden=False)
    session = Session(artifact)
    assert (session.variant, session.device, session.gpu_missing) == ("cpu-fp32", "cpu", True)
    (warning,) = warnings
    assert warning.startswith("ONNX Runtime cannot start CUDA on GPU 0, though there is one; its log says why")
    assert warning.endswith("until then cpu-fp32 of broken-cuda is served on the CPU")


def test_on_gpus_there_are_sessions_for_each_and_more_calls_go_on_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU in the place of two GPUs: what is bound there is the same but for the device."""
    having_gpus(monkeypatch, 2)
    artifact = make_artifact(tmp_path / "two", ["cpu-fp32", "gpu-fp16"], golden=False)
    opened: list[int] = []

    def on_cpu(path: Path, gpu: int, threads: int, wanted: Wanted, shapes: Shapes, labels: int) -> BoundSession:
        opened.append(gpu)
        return BoundSession(
            open_session(path, "CPUExecutionProvider", threads), shapes, labels, gpu=None, graphs=wanted.graphs
        )

    monkeypatch.setattr(bound, "open_on_gpu", on_cpu)
    session = Session(artifact, wanted=Wanted(device="gpu:0,1"))
    assert (opened, session.device, session.lanes, session.gpu_missing) == ([0, 1], "gpu:0,1", 4, False)
    assert model_labels(artifact, session)["device"] == "gpu:0,1"
    inputs = {"pixel_values": pixels(5)}
    for _ in range(5):
        np.testing.assert_allclose(session.run(inputs), Session(artifact, "cpu-fp32").run(inputs), rtol=1e-5)


def test_a_variant_runs_in_its_runtime(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: the extra openvino")
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32", "cpu-fp32-openvino"])
    session = Session(artifact)
    provider = "CPUExecutionProvider"
    assert described(session) == {
        "asked": provider,
        "device": "cpu",
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    without_openvino(monkeypatch)
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
