"""Short memory, in earnest: a session of ONNX Runtime whose arena is held to some kilobytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serving.model.halves import in_halves, is_out_of_memory
from tests.conftest import ROOT
from tests.made import pixels, save_product

# The allocator of a process can be set once, so it is set in a process of its own.
SHORT = """
import json, logging, sys
from pathlib import Path
import numpy as np, onnxruntime as ort
from serving.model.halves import in_halves
from tests.made import pixels

memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
limits = {"max_mem": 20_000, "arena_extend_strategy": 1, "initial_chunk_size_bytes": 1024}
ort.create_and_register_allocator(memory, ort.OrtArenaCfg({**limits, "max_dead_bytes_per_chunk": -1}))
options = ort.SessionOptions()
options.add_session_config_entry("session.use_env_allocators", "1")
options.enable_mem_pattern = False
options.log_severity_level = 4
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
rows, warnings = [], []
logging.getLogger("sieve").addHandler(handler := logging.Handler())
handler.emit = lambda record: warnings.append(record.getMessage())

def run(inputs):
    rows.append(len(inputs["pixel_values"]))
    return session.run(["logits"], inputs)[0]

logits = in_halves(run, "tiny")({"pixel_values": pixels(8)})
print(json.dumps({"rows": rows, "warnings": warnings, "logits": logits.tolist()}))
"""


def test_a_batch_that_is_too_large_for_the_memory_runs_in_halves(tmp_path: Path) -> None:
    import onnxruntime

    graph = save_product(tmp_path / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", SHORT, str(graph)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert said["rows"][0] == 8
    assert len(said["rows"]) > 3
    assert sum(said["rows"]) > 8
    assert said["warnings"][0] == "memory was too short for 8 rows of tiny at once; they run as two halves"
    reference = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(said["logits"], reference.run(["logits"], {"pixel_values": pixels(8)})[0], rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 Available memory of 2304 is smaller than "
        "requested bytes of 4096",
        "Failed to allocate memory for requested buffer of size 1073741824",
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; expr=cudaMalloc((void**)&p, size)",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
    ],
)
def test_what_the_libraries_say_when_memory_is_short(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))


def test_other_failures_are_no_want_of_memory() -> None:
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("CUDA failure 700: an illegal memory access was encountered"))


def test_one_row_is_not_divided_and_other_errors_are_raised() -> None:
    calls: list[int] = []

    def short(inputs: dict[str, np.ndarray]) -> np.ndarray:
        calls.append(len(inputs["a"]))
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        in_halves(short, "tiny")({"a": pixels(3)})  # type: ignore[arg-type]  # a dict will do
    assert calls == [3, 1]

    def broken(inputs: dict[str, np.ndarray]) -> np.ndarray:
        calls.append(len(inputs["a"]))
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        in_halves(broken, "tiny")({"a": pixels(4)})  # type: ignore[arg-type]  # a dict will do
    assert calls == [3, 1, 4]
