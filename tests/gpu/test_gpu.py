"""What only a GPU can show (make test-gpu): training there, fp16 published because it was measured, served on CUDA."""

from __future__ import annotations

import ctypes
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from prometheus_client import REGISTRY

from loadtest.__main__ import main
from optimize.models.device import learning, learns_in_bf16, training_device
from serving.model.artifact import Artifact
from serving.model.bound import LANES, open_on_gpu
from serving.model.device import Wanted, gpu_present, pci_bus_id
from serving.model.halves import is_out_of_memory
from serving.model.pinned import cuda_runtime, pinned
from serving.model.preprocess import example_items, preprocessor
from serving.model.session import Session
from serving.model.shapes import Shapes
from serving.watch.gpu import GpuMetrics
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
    assert (served.device, served.lanes) == ("gpu:0", LANES)
    batch = preprocessor(artifact).collate([example_items(artifact.manifest.settings)[0]] * 4)
    np.testing.assert_allclose(served.run(batch), reference.run(batch), atol=0.05)


@pytest.mark.parametrize("graphs", [True, False])
def test_every_shape_gets_the_logits_of_the_cpu(build: Path, graphs: bool) -> None:
    """With CUDA graphs too, in every order, and from several threads at once."""
    artifact = Artifact.open(build / "tiny-text-expert")
    encoder = preprocessor(artifact)
    served, reference = Session(artifact, wanted=Wanted(device="gpu", graphs=graphs)), Session(artifact, "cpu-fp32")
    items = [item[:length] for item in example_items(artifact.manifest.settings) for length in (3, len(item))]
    batches = [encoder.collate(items[:size] * times) for size in (1, 2, 5, len(items)) for times in (1, 3)]
    expected = [reference.run(batch) for batch in batches]
    for _ in range(3):
        for batch, logits in zip(batches, expected, strict=True):
            np.testing.assert_allclose(served.run(batch), logits, atol=0.05)
    with ThreadPoolExecutor(4) as pool:
        for got, logits in zip(pool.map(served.run, batches * 8), expected * 8, strict=True):
            np.testing.assert_allclose(got, logits, atol=0.05)


def test_cuda_graphs_are_recorded(build: Path) -> None:
    artifact = Artifact.open(build / "tiny-text-expert")
    path, shapes = artifact.variant_path("gpu-fp16"), Shapes(artifact.manifest.settings)
    session = open_on_gpu(path, 0, 1, Wanted(device="gpu"), shapes, len(artifact.manifest.labels))
    assert session.graphs
    assert [set(lane) for lane in session.lanes] == [set(shapes.all())] * LANES


def test_pages_are_locked() -> None:
    """CUDA's runtime is there once a session on CUDA has been opened, and knows the address."""
    onnxruntime.preload_dlls()
    runtime = cuda_runtime()
    assert runtime is not None
    array = pinned((1024,), "float32", 0)
    flags = ctypes.c_uint()
    assert runtime.cudaHostGetFlags(ctypes.byref(flags), ctypes.c_void_p(array.ctypes.data)) == 0


def test_memory_that_is_short_is_told_by_its_text(build: Path) -> None:
    artifact = Artifact.open(build / "tiny-text-expert")
    with pytest.raises(Exception, match="memory") as raised:
        onnxruntime.OrtValue.ortvalue_from_shape_and_type([2**45], np.float32, "cuda", 0)
    assert is_out_of_memory(raised.value), str(raised.value)
    limited = Session(artifact, wanted=Wanted(device="gpu", memory_mb=64))
    batch = preprocessor(artifact).collate([example_items(artifact.manifest.settings)[0]] * 4)
    assert limited.run(batch).shape == (4, len(artifact.manifest.labels))


def test_the_metrics_are_those_of_the_gpu(clean_registry: None) -> None:
    nvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: the extra gpu")
    bus_id = pci_bus_id(0)
    GpuMetrics([bus_id], nvml).sample()
    used, there = (
        REGISTRY.get_sample_value(name, {"gpu": bus_id})
        for name in ("sieve_gpu_memory_used_bytes", "sieve_gpu_memory_bytes")
    )
    assert used is not None
    assert there is not None
    assert 0 < used <= there


def test_a_model_learns_in_bf16_on_the_gpu() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    device = training_device()
    assert device.type == "cuda"
    with learning(device):
        product = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    assert product.dtype == (torch.bfloat16 if learns_in_bf16(device) else torch.float32)


def test_the_command_about_a_gpu_runs(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    main(["gpu", "--tiny", "--seconds", "0.05", "--batches", "1,4", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "gpu.json").read_text())
    ways = {row["way"] for row in result["alone"] if "ms" in row}
    assert {"ONNX Runtime", "ONNX Runtime, CUDA graphs", "PyTorch eager"} <= ways
    assert all(row["gap"] < 0.05 for row in result["alone"] if "ms" in row)


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
