"""Write the artifact folders of screen, expert and operating point from a build's results."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimize.build import Build
from optimize.judge.gates import Verdict, default_cpu_variant, default_variant
from optimize.judge.timing import Latency
from optimize.judge.verify import EVIDENCE
from optimize.results import Result, Stage
from optimize.versions import versions
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import (
    MANIFEST,
    OPERATING_POINT,
    Artifact,
    Manifest,
    TextSettings,
    Variant,
    VariantName,
    sha256_of,
    write_json,
)


def assemble(
    build: Build,
    stage: Stage,
    chosen: Mapping[VariantName, Result],
    verdicts: Sequence[Verdict],
    latency: Mapping[str, Latency],
) -> Artifact:
    """Write the artifact folder of a stage beside, rename it and open it, which checks the digests.

    `chosen` are the graphs to publish. `state_quality` adds the quality of the variants later.
    """
    folder = build.artifact_folder(stage)
    beside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    variants = {name: _copied(graph, name, beside) for name, graph in chosen.items()}
    files = {variant.file: variant.sha256 for variant in variants.values()}
    settings = build.preparer.settings
    if isinstance(settings, TextSettings):
        shutil.copy(build.teacher.path / settings.tokenizer, beside / settings.tokenizer)
        files[settings.tokenizer] = sha256_of(beside / settings.tokenizer)
    manifest = Manifest(
        name=folder.name,
        role=stage,
        labels=build.splits.labels,
        settings=settings,
        variants=variants,
        default_cpu=default_cpu_variant(chosen, latency),
        default_gpu=default_variant(chosen, latency, "CUDAExecutionProvider"),
        files=files,
        provenance=_provenance(build),
        versions=versions(),
        seed=build.recipe.seed,
        times={
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "latency": {name: latency[graph.name].as_dict() for name, graph in chosen.items()},
        },
    )
    (beside / EVIDENCE).mkdir()
    write_json(beside / EVIDENCE / "verdicts.json", [verdict.as_dict() for verdict in verdicts])
    write_json(beside / MANIFEST, manifest.model_dump(mode="json"))
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return Artifact.open(folder)


def _copied(graph: Result, name: VariantName, folder: Path) -> Variant:
    """Copy a graph into the artifact folder as the variant `name`."""
    file = f"{name}/model.onnx"
    (folder / name).mkdir(parents=True)
    shutil.copy(graph.path, folder / file)
    digest = sha256_of(folder / file)
    return Variant(
        file=file, precision=graph.precision, provider=graph.provider, sha256=digest, size_bytes=graph.size_bytes
    )


def state_quality(artifact: Artifact, quality: Mapping[VariantName, Mapping[str, float]]) -> None:
    """Write the quality of each variant into an artifact's manifest, which leaves its digest as it is."""
    manifest = artifact.manifest.model_copy(update={"quality": dict(quality)})
    write_json(artifact.folder / MANIFEST, manifest.model_dump(mode="json"))


def write_operating_point(folder: Path, point: OperatingPoint) -> None:
    """Write the artifact folder of an operating point, and remove the evidence of an earlier one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / OPERATING_POINT, point.model_dump(mode="json"))


def _provenance(build: Build) -> dict[str, Any]:
    recipe = build.recipe
    return {
        "recipe": recipe.name,
        "recipe_digest": build.recipe_digest,
        "checkpoint": recipe.checkpoint.model_dump(mode="json"),
        "data": build.splits.describe(),
        "steps": [result.name for result in build.results],
        "screen": [step.model_dump(mode="json") for step in recipe.screen],
    }
