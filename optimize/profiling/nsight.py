"""Command lines that run `python -m optimize profile --stages-only` under Nsight Systems and Nsight Compute.

No other profiler runs beside them: PyTorch Profiler and Nsight both need CUPTI, which serves one at a time.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from optimize.profiling.run import Settings
from optimize.profiling.subject import Subject
from optimize.progress import console
from serving.model.device import gpu_present

KERNELS = 200


def tell_commands(models: Sequence[str], subjects: Sequence[Subject], settings: Settings) -> None:
    """Print the commands for each variant that was profiled on this machine's GPU; nothing without one."""
    for model, subject in zip(models, subjects, strict=True):
        for variant in subject.variants(settings.variants):
            if gpu_present() and subject.artifact.manifest.variants[variant].provider == "CUDAExecutionProvider":
                for tool, line in commands(model, variant, settings, settings.out / subject.name).items():
                    console.print(f"{tool}:\n{line}", soft_wrap=True, markup=False)


def commands(model: str, variant: str, settings: Settings, folder: Path) -> dict[str, str]:
    """A shell line for each tool. Both wait for cudaProfilerStart, which the program calls after its warm-up.

    Nsight Compute replays each kernel many times, so it profiles only the first KERNELS inside the range `run`.
    """
    program = ["python", "-m", "optimize", "profile", model, "--variant", variant, "--stages-only"]
    program += ["--threads", str(settings.threads), "--trace-batch-size", str(settings.trace_batch_size)]
    if settings.trace_length is not None:
        program += ["--trace-length", str(settings.trace_length)]
    nsys = ["nsys", "profile", "--trace=cuda,nvtx,osrt", "--capture-range=cudaProfilerApi", "--capture-range-end=stop"]
    nsys += ["--force-overwrite=true", f"--output={folder / f'{variant}-nsys'}"]
    ncu = ["ncu", "--profile-from-start=off", "--nvtx", "--nvtx-include=run/", f"--launch-count={KERNELS}"]
    ncu += ["--set=full", "--force-overwrite", f"--export={folder / f'{variant}-ncu'}"]
    return {tool: shlex.join([*line, *program]) for tool, line in (("Nsight Systems", nsys), ("Nsight Compute", ncu))}
