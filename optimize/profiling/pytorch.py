"""The most expensive operators of the checkpoints that a build keeps, from PyTorch Profiler's trace."""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from optimize.errors import ProfileError
from optimize.judge.timing import times_in_turn
from optimize.models.device import move, training_device
from optimize.models.saved import load_model
from optimize.profiling.operators import TOP
from optimize.profiling.subject import Cell, Subject
from optimize.results import GRAPH_FILE
from serving.model.artifact import MANIFEST, Artifact, TextSettings, read_manifest, sha256_of

FORWARD = "forward"
_CHECKPOINT_STEPS = ("checkpoint", "fine-tune", "distill", "prune")


def checkpoints(artifact: Artifact, build: Path) -> dict[str, Path]:
    """Folders of the teacher and of the checkpoint that the artifact's graphs were exported from, by the step's name.

    A teacher with another tokeniser is left out, since the artifact's token ids are other words to it, and one that is
    a ready ONNX graph, which has nothing in PyTorch. Raises ProfileError when the build folder lacks one.
    """
    manifest = artifact.manifest
    made = [name for name in manifest.provenance.get("steps", ()) if name.partition("/")[2] in _CHECKPOINT_STEPS]
    teacher = [name for name in made if name.startswith("teacher/")]
    own = [name for name in made if name.startswith(f"{manifest.role}/")]
    found = {}
    for name in dict.fromkeys([*teacher, *own[-1:]]):
        folders = sorted(build.glob(f"{name}-*/model.safetensors"), key=lambda path: path.stat().st_mtime)
        if not folders and any(build.glob(f"{name}-*/{GRAPH_FILE}")):
            continue
        if not folders:
            raise ProfileError(
                f"{build} has no checkpoint of {name}, which {manifest.name} was made with; make it with "
                f"`python -m optimize evaluate {manifest.provenance.get('recipe', 'RECIPE')}`, or name another folder "
                "with --build"
            )
        if name in own or _reads_the_same(artifact, folders[-1].parent):
            found[name] = folders[-1].parent
    return found


def _reads_the_same(artifact: Artifact, checkpoint: Path) -> bool:
    """Whether a checkpoint has the tokeniser that the artifact prepares its texts with."""
    settings = artifact.manifest.settings
    if not isinstance(settings, TextSettings):
        return True
    return sha256_of(checkpoint / settings.tokenizer) == artifact.manifest.files[settings.tokenizer]


def of_one_run(artifact: Artifact, build: Path) -> bool:
    """Whether the build folder made this artifact; another run's weights differ, even where its shapes do not."""
    folder = build / artifact.manifest.name
    return (folder / MANIFEST).is_file() and read_manifest(folder).digest == artifact.digest


def trace_checkpoint(
    subject: Subject, name: str, folder: Path, cell: Cell, *, threads: int, runs: int, path: Path
) -> dict[str, Any]:
    """Write PyTorch Profiler's trace (Chrome's JSON) of a checkpoint to `path`; return its most expensive operators.

    Rows are {name, calls, ms, share}, by operator and by operator with the shapes of its inputs. `ms` is an operator's
    own time, without the operators it calls; on a GPU it is the time of its kernels. `share_not_in_operators` is the
    share of Python and all else.
    """
    device = training_device()
    model = load_model(folder, "text" if subject.is_text else "image")
    move(model, device)
    batch = subject.preprocess.collate(subject.items(cell))
    tensors = {key: torch.from_numpy(array).to(device) for key, array in batch.items()}

    def forward(_: int) -> None:
        with torch.inference_mode(), record_function(FORWARD):
            model(**tensors)
            if device.type == "cuda":
                torch.cuda.synchronize()

    timing = {"warmup": 3, "torch_threads": threads}
    untraced = times_in_turn({name: forward}, runs, title=f"{name}: untraced", **timing)[name]
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities, record_shapes=True) as profiler:
        traced = times_in_turn({name: forward}, runs, 0, torch_threads=threads, title=f"{name}: operators")[name]
    beside = path.with_name(f".{path.name}.partial")
    profiler.export_chrome_trace(str(beside))
    os.replace(beside, path)
    return {
        "trace": path.name,
        "device": device.type,
        "batch_size": cell.batch_size,
        "length": cell.length,
        "runs": runs,
        "traced_ms": round(statistics.median(traced), 4),
        "untraced_ms": round(statistics.median(untraced), 4),
        **tabulate(profiler, runs, on_gpu=device.type == "cuda"),
    }


def tabulate(profiler: profile, runs: int, *, on_gpu: bool) -> dict[str, Any]:
    """The most expensive operators that PyTorch Profiler recorded; see `trace_checkpoint`."""
    forward_us = sum(event.cpu_time_total for event in profiler.key_averages() if event.key == FORWARD and _host(event))
    tables = {}
    for table, by_shape in (("by_type", False), ("by_node", True)):
        averages = profiler.key_averages(group_by_input_shape=by_shape)
        events = [event for event in averages if event.key != FORWARD and _host(event)]
        times = [(event, event.self_device_time_total if on_gpu else event.self_cpu_time_total) for event in events]
        tables[table] = [
            {
                "name": f"{event.key} {event.input_shapes}" if by_shape else event.key,
                "calls": event.count / runs,
                "ms": round(us / runs / 1e3, 4),
                "share": round(us / forward_us, 4),
            }
            for event, us in sorted(times, key=lambda timed: -timed[1])[:TOP]
        ]
        in_operators_us = sum(us for _, us in times)
    share = round(1 - in_operators_us / forward_us, 4)
    return {"run_ms": round(forward_us / runs / 1e3, 4), **tables, "share_not_in_operators": share}


def _host(event: Any) -> bool:
    # A kernel has its own event beside that of its operator, and must not count twice.
    return bool(event.device_type == DeviceType.CPU)
