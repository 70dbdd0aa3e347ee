"""Compare runtimes on published artifacts: which graphs, which inputs, and what is written."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimize.errors import ProfileError, RuntimesError
from optimize.profiling.pytorch import checkpoints, of_one_run
from optimize.profiling.subject import Cell, find
from optimize.profiling.subject import Subject as Published
from optimize.progress import console
from optimize.runtimes.candidate import Subject
from optimize.runtimes.measure import Pace, Work, measure
from optimize.runtimes.pictures import dots
from optimize.runtimes.registry import candidates
from optimize.runtimes.tables import tell
from optimize.versions import versions
from serving.arrays import Array
from serving.cpu import processor
from serving.errors import ArtifactError
from serving.model.artifact import MANIFEST, VariantName, write_json, write_text
from serving.model.golden import GOLDEN, Golden
from serving.model.head import head_of

FACTS, PICTURE = "runtimes.json", "runtimes.svg"
ROLES = ("screen", "expert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to compare. `build` is the folder with the checkpoints; by default that of the artifact's recipe."""

    variants: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    tokens: int | None = None
    build: Path | None = None
    out: Path = Path("build/runtimes")
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        numbers = {"batch sizes": min(self.batch_sizes), "threads": self.pace.threads, "rounds": self.pace.rounds}
        for name, least in numbers.items():
            if least < 1:
                raise RuntimesError(f"{name} must be at least 1, got {least}; give a larger number")


def compare(name: str, settings: Settings, command: str) -> list[dict[str, Any]]:
    """Compare the runtimes on an artifact, or on both of a cascade; return the content of each runtimes.json."""
    load_average = round(os.getloadavg()[0], 2)
    chosen = [(published, variant) for published in named(name) for variant in _variants(published, settings.variants)]
    found = []
    for published, variant in chosen:
        work = _work(published, variant, settings)
        facts = {
            **_described(published, variant, settings, command),
            "load_average_before": load_average,
            "items_held": "golden" if GOLDEN in published.artifact.manifest.files else "generated",
            "runtimes": measure(work, candidates(), settings.pace),
        }
        folder = settings.out / published.name / variant
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FACTS, facts)
        write_text(folder / PICTURE, dots(facts))
        tell(facts)
        console.print(f"{folder}: {FACTS} and {PICTURE}", soft_wrap=True)
        found.append(facts)
    return found


def named(name: str) -> list[Published]:
    """The artifact in a folder or in the model store, or screen and expert of a build folder or a cascade there.

    Raises ArtifactError if there is neither.
    """
    folder = Path(name)
    if folder.is_dir() and not (folder / MANIFEST).is_file():
        pair = [found for role in ROLES for found in sorted(folder.glob(f"*-{role}")) if (found / MANIFEST).is_file()]
        if not pair:
            raise ArtifactError(
                f"{folder} is neither an artifact nor a build folder: it has no {MANIFEST}; make one with "
                "`python -m optimize run RECIPE`"
            )
        return [find(str(path)) for path in pair]
    try:
        return [find(name)]
    except ArtifactError as not_one:
        try:
            return [find(f"{name}-{role}") for role in ROLES]
        except ArtifactError:
            raise not_one from None


def _variants(published: Published, asked: tuple[str, ...]) -> Iterator[VariantName]:
    """The variants whose graphs are compared, each graph once: those asked for, all, or the default for the CPU."""
    manifest = published.artifact.manifest
    wanted = tuple(manifest.variants) if "all" in asked else asked or (manifest.default_cpu,)
    graphs = set()
    for name in wanted:
        path = published.artifact.variant_path(name)  # type: ignore[arg-type]  # says which there are
        if path not in graphs:
            graphs.add(path)
            yield name  # type: ignore[misc]  # checked above


def _work(published: Published, variant: VariantName, settings: Settings) -> Work:
    artifact = published.artifact
    checkpoint, why_not = _checkpoint(published, settings.build)
    length = published.traced_length(settings.tokens)
    collate, most = published.preprocess.collate, max(settings.batch_sizes)
    items = published.items(Cell(length, most))
    held: Sequence[Array] = items
    if GOLDEN in artifact.manifest.files:
        held = Golden.read(artifact.folder).items
    return Work(
        subject=Subject(
            graph=artifact.variant_path(variant),
            task=artifact.manifest.settings.kind,
            checkpoint=checkpoint,
            no_checkpoint=why_not,
        ),
        batches={size: collate(items[:size]) for size in sorted({*settings.batch_sizes})},
        held=[collate([item]) for item in held],
        head=head_of(artifact.manifest),
        precision=artifact.manifest.variants[variant].precision,
    )


def _checkpoint(published: Published, asked: Path | None) -> tuple[Path | None, str]:
    """The checkpoint that the artifact's graphs were exported from, or why there is none."""
    recipe = published.artifact.manifest.provenance.get("recipe")
    build = asked or Path("build") / str(recipe)
    if not (build / "teacher").is_dir():
        return None, f"{build} holds no checkpoint; name the build folder with --build"
    if not of_one_run(published.artifact, build):
        return None, f"{build} made another version of {published.name}; name its build folder with --build"
    try:
        return list(checkpoints(published.artifact, build).values())[-1], ""
    except ProfileError as error:
        return None, str(error)


def _described(published: Published, variant: VariantName, settings: Settings, command: str) -> dict[str, Any]:
    manifest = published.artifact.manifest
    return {
        "name": published.name,
        "tag": published.tag,
        "digest": published.artifact.digest,
        "role": manifest.role,
        "kind": manifest.settings.kind,
        "variant": variant,
        "precision": manifest.variants[variant].precision,
        "alone": manifest.variants[variant].alone,
        "length": published.traced_length(settings.tokens),
        "threads": settings.pace.threads,
        "rounds": settings.pace.rounds,
        "command": command,
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": versions(),
    }
