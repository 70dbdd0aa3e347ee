"""From a build's results to the artifact folders of screen and expert, written beside and then renamed."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimize.build import Build
from optimize.judge.gates import Verdict
from optimize.judge.measure import Latency
from optimize.judge.verify import EVIDENCE
from optimize.results import Result
from optimize.versions import versions
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import (
    MANIFEST,
    OPERATING_POINT,
    Artifact,
    Manifest,
    Provider,
    TextSettings,
    Variant,
    VariantName,
    sha256_of,
    write_json,
)

_VARIANTS: dict[str, VariantName] = {"fp32": "cpu-fp32", "int8": "cpu-int8", "fp16": "gpu-fp16"}


def chosen_variants(
    graphs: Sequence[Result], verdicts: Sequence[Verdict], latency: Mapping[str, Latency]
) -> dict[VariantName, Result]:
    """The graphs to publish, by variant; where two compete for one variant, the faster one."""
    published = {verdict.graph for verdict in verdicts if verdict.published}
    measured = [graph for graph in graphs if graph.name in published]
    ordered = sorted(measured, key=lambda graph: -latency[graph.name].median_ms)
    return {_VARIANTS[graph.precision]: graph for graph in ordered}


def default_variant(
    chosen: Mapping[VariantName, Result], latency: Mapping[str, Latency], provider: Provider
) -> VariantName | None:
    """The fastest of the chosen variants for a provider; None when there is none."""
    fitting = [name for name, graph in chosen.items() if graph.provider == provider]
    return min(fitting, key=lambda name: latency[chosen[name].name].median_ms, default=None)


def assemble(
    build: Build,
    role: Any,
    verdicts: Sequence[Verdict],
    latency: Mapping[str, Latency],
) -> Artifact:
    """Write the artifact folder of a role and open it again, digests checked. What its quality is comes later."""
    chosen = chosen_variants(build.graphs(role), verdicts, latency)
    folder = build.artifact_folder(role)
    beside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    files, variants = {}, {}
    for name, graph in chosen.items():
        file = f"{name}/model.onnx"
        (beside / name).mkdir(parents=True)
        shutil.copy(graph.path, beside / file)
        digest = sha256_of(beside / file)
        files[file] = digest
        variants[name] = Variant(
            file=file,
            precision=graph.precision,
            provider=graph.provider,
            sha256=digest,
            size_bytes=graph.size_bytes,
        )
    settings = build.preparer.settings
    if isinstance(settings, TextSettings):
        shutil.copy(build.teacher.path / settings.tokenizer, beside / settings.tokenizer)
        files[settings.tokenizer] = sha256_of(beside / settings.tokenizer)
    manifest = Manifest(
        name=folder.name,
        role=role,
        labels=build.splits.labels,
        settings=settings,
        variants=variants,
        default_cpu=default_variant(chosen, latency, "CPUExecutionProvider"),
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


def state_quality(artifact: Artifact, quality: Mapping[str, Any]) -> None:
    """Write into an artifact's manifest what its variants are worth; its digest stays the same."""
    manifest = artifact.manifest.model_copy(update={"quality": dict(quality)})
    write_json(artifact.folder / MANIFEST, manifest.model_dump(mode="json"))


def write_operating_point(folder: Path, point: OperatingPoint) -> None:
    """Write the artifact folder of an operating point; evidence for an earlier one goes."""
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
