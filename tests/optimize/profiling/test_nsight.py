from __future__ import annotations

from pathlib import Path

from optimize.profiling.nsight import commands
from optimize.profiling.run import Settings
from tests.commands import ROOT


def test_nsight_is_told_to_wait_and_to_look_at_the_run() -> None:
    settings = Settings(threads=2, trace_batch_size=8, trace_length=64)
    lines = commands("sms-risk-expert:latest", "gpu-fp16", settings, Path("build/profile/sms-risk-expert"))
    program = (
        "python -m optimize profile sms-risk-expert:latest --variant gpu-fp16 --stages-only --threads 2 "
        "--trace-batch-size 8 --trace-length 64"
    )
    assert lines["Nsight Systems"].startswith("nsys profile --trace=cuda,nvtx,osrt --capture-range=cudaProfilerApi ")
    assert lines["Nsight Compute"].startswith("ncu --profile-from-start=off --nvtx --nvtx-include=run/ ")
    assert all(line.endswith(program) for line in lines.values())


def test_the_lines_that_the_documentation_shows_are_those_that_are_printed() -> None:
    shown = (ROOT / "docs" / "profiling.md").read_text(encoding="utf-8")
    lines = commands("sms-risk-expert", "gpu-fp16", Settings(), Path("build/profile/sms-risk-expert"))
    assert "\n".join(lines.values()) in shown
