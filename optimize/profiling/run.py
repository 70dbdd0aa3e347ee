"""Take a profile: first traces, one model after the other, then the batch curves of all models in turn.

Each model gets a folder with its traces, profile.json and batch-curve.svg.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimize.errors import ProfileError
from optimize.judge.timing import times_in_turn
from optimize.profiling.curve import METHOD, QUANTILE_SHARES, curve_of, knees_of
from optimize.profiling.operators import trace_operators
from optimize.profiling.pytorch import checkpoints, of_one_run, trace_checkpoint
from optimize.profiling.report import tell
from optimize.profiling.stages import time_stages
from optimize.profiling.subject import Cell, Subject
from optimize.progress import console
from optimize.report import figures
from optimize.versions import versions
from serving.cpu import processor
from serving.model.artifact import VariantName, write_json, write_text
from serving.model.session import Session

PROFILE, PICTURE = "profile.json", "batch-curve.svg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure. `build` is a build folder, the name of a recipe below build/, or None for the artifact's own."""

    variants: tuple[str, ...] = ()
    threads: int = 1
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    lengths: tuple[int, ...] | None = None
    rounds: int = 40
    trace_batch_size: int = 1
    trace_length: int | None = None
    runs: int = 20
    build: Path | None = None
    out: Path = Path("build/profile")

    def __post_init__(self) -> None:
        numbers = {"threads": (self.threads,), "batch sizes": self.batch_sizes, "rounds": (self.rounds,)}
        numbers |= {"runs": (self.runs,), "trace batch size": (self.trace_batch_size,)}
        for name, values in numbers.items():
            if min(values) < 1:
                raise ProfileError(f"{name} must be at least 1, got {min(values)}")


def profile(subjects: Sequence[Subject], settings: Settings, command: str) -> list[dict[str, Any]]:
    """Profile each subject; print the tables; return the content of each profile.json."""
    load_average = round(os.getloadavg()[0], 2)  # of the minute before, so without our own work
    names = [subject.name for subject in subjects]
    for name in names:
        if names.count(name) > 1:
            raise ProfileError(f"{name} was named {names.count(name)} times; profile its versions one after the other")
    chosen = [(subject, subject.variants(settings.variants)) for subject in subjects]
    planned = {subject.name: _cells(subject, settings) for subject in subjects}
    traced = [Cell(subject.traced_length(settings.trace_length), settings.trace_batch_size) for subject in subjects]
    builds = [_build_folder(subject, settings) for subject in subjects]
    kept = [
        checkpoints(subject.artifact, build) if build else {} for subject, build in zip(subjects, builds, strict=True)
    ]
    # Every mistake in the request was reported above, before anything is measured.
    found = [_traces(*pair, cell, folders, settings) for pair, cell, folders in zip(chosen, traced, kept, strict=True)]
    curves = _curves(chosen, planned, settings)
    profiles = []
    for (subject, variants), build, traces in zip(chosen, builds, found, strict=True):
        traces["build_is_of_this_artifact"] = of_one_run(subject.artifact, build) if build else None
        for variant in variants:
            curve = curves[subject.name, variant]
            traces["variants"][variant] |= {"curve": curve, "knees": knees_of(curve)}
        facts = {**_described(subject, settings, command), "load_average_before": load_average, **traces}
        folder = settings.out / subject.name
        write_json(folder / PROFILE, facts)
        write_text(folder / PICTURE, figures.batch_curves(facts))
        tell(facts)
        console.print(f"{folder}: {PROFILE}, {PICTURE} and the traces, which ui.perfetto.dev opens", soft_wrap=True)
        profiles.append(facts)
    return profiles


def run_stages(subjects: Sequence[Subject], settings: Settings) -> None:
    """Run the stages alone, under their NVTX ranges, for Nsight."""
    for subject in subjects:
        cell = Cell(subject.traced_length(settings.trace_length), settings.trace_batch_size)
        for variant in subject.variants(settings.variants):
            session = Session(subject.artifact, variant, threads=settings.threads)
            for stage, spread in time_stages(subject, session, cell, settings.rounds).items():
                console.print(f"{subject.name} {variant}: {stage} {spread['median_ms']:.3f} ms")


def _traces(
    subject: Subject, variants: Sequence[VariantName], cell: Cell, folders: Mapping[str, Path], settings: Settings
) -> dict[str, Any]:
    folder = settings.out / subject.name
    folder.mkdir(parents=True, exist_ok=True)
    run = {"threads": settings.threads, "runs": settings.runs}
    found: dict[str, Any] = {"variants": {}, "checkpoints": {}}
    for variant in variants:
        session = Session(subject.artifact, variant, threads=settings.threads)
        found["variants"][variant] = {
            "stages": time_stages(subject, session, cell, settings.rounds),
            "operators": trace_operators(subject, variant, cell, **run, path=folder / f"{variant}-onnxruntime.json"),
        }
    for name, checkpoint in folders.items():
        path = folder / f"{name.replace('/', '-')}-pytorch.json"
        found["checkpoints"][name] = trace_checkpoint(subject, name, checkpoint, cell, **run, path=path)
    return found


def _build_folder(subject: Subject, settings: Settings) -> Path | None:
    """The folder asked for, else the recipe's default one if it exists. Raises ProfileError for a missing one."""
    recipe = subject.artifact.manifest.provenance.get("recipe")
    asked = settings.build
    if asked is None:
        folder = Path("build") / str(recipe)
        if (folder / "teacher").is_dir():
            return folder
        console.print(f"{subject.name}: no PyTorch profile, since {folder} is not there; name a folder with --build")
        return None
    for folder in (asked, Path("build") / asked):
        if folder.is_dir():
            return folder
    raise ProfileError(f"--build {asked}: neither a folder nor a recipe's name below build/; give one that is there")


def _cells(subject: Subject, settings: Settings) -> list[Cell]:
    return [
        Cell(length, size) for length in subject.lengths(settings.lengths) for size in sorted({*settings.batch_sizes})
    ]


def _curves(
    chosen: Sequence[tuple[Subject, Sequence[VariantName]]], planned: dict[str, list[Cell]], settings: Settings
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Time every model, variant, length and batch size once a round, so that a slow minute slows all of them."""
    calls = {}
    for subject, variants in chosen:
        batches = {cell: subject.preprocess.collate(subject.items(cell)) for cell in planned[subject.name]}
        for variant in variants:
            session = Session(subject.artifact, variant, threads=settings.threads)
            for cell, batch in batches.items():
                calls[subject.name, variant, cell] = lambda _, session=session, batch=batch: session.run(batch)
    times = times_in_turn(calls, settings.rounds, warmup=1, shuffle_seed=0, title="batch curves, in turn")
    return {
        (subject.name, variant): curve_of({cell: times[subject.name, variant, cell] for cell in planned[subject.name]})
        for subject, variants in chosen
        for variant in variants
    }


def _described(subject: Subject, settings: Settings, command: str) -> dict[str, Any]:
    manifest = subject.artifact.manifest
    return {
        "name": subject.name,
        "tag": subject.tag,
        "digest": subject.artifact.digest,
        "role": manifest.role,
        "kind": manifest.settings.kind,
        "command": command,
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": versions(),
        "threads": settings.threads,
        "rounds": settings.rounds,
        "quantile_shares": QUANTILE_SHARES,
        "knee_method": METHOD,
    }
