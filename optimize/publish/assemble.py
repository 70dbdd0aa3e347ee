"""Write the artifact folders of screen, expert and operating point from a build's results."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimize.build import Build
from optimize.judge.company import runs_alone
from optimize.judge.gates import Verdict, default_cpu_variant, default_variant
from optimize.judge.quality_name import name_of, named
from optimize.judge.timing import Latency
from optimize.judge.verify import EVIDENCE
from optimize.models.decisions import head_for
from optimize.results import Result, Stage
from optimize.versions import versions
from serving.arrays import Array, Logits
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
from serving.model.golden import GOLDEN, Golden, this_machine
from serving.model.head import SOFTMAX, Head, Sigmoid

GOLDEN_ITEMS = 8


def assemble(
    build: Build,
    stage: Stage,
    chosen: Mapping[VariantName, Result],
    verdicts: Sequence[Verdict],
    latency: Mapping[str, Latency],
    on_selection: Mapping[str, Logits],
) -> Artifact:
    """Write the artifact folder of a stage beside, rename it and open it, which checks the digests.

    `chosen` are the graphs to publish. `on_selection` [items, labels] are the logits of the selection set by the name
    of the result. `state_quality` adds the quality of the variants later.
    """
    folder = build.artifact_folder(stage)
    beside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    logits = {name: on_selection[graph.name] for name, graph in chosen.items()}
    checkpoint = build.checkpoint_of(stage)
    selection, preparer = build.prepared("selection", checkpoint), build.preparer_of(checkpoint)
    head = head_for(on_selection[checkpoint.name], selection.targets)
    folders = _folders(chosen)
    variants = {
        name: _copied(graph, folders[graph.path], beside, alone=runs_alone(build, graph, logits[name], head))
        for name, graph in chosen.items()
    }
    default = default_cpu_variant(chosen, latency)
    golden_of(selection.items, logits, build.recipe.seed, head).save(beside)
    files = {variant.file: variant.sha256 for variant in variants.values()}
    files[GOLDEN] = sha256_of(beside / GOLDEN)
    settings = preparer.settings
    if isinstance(settings, TextSettings):
        assert preparer.folder is not None
        shutil.copy(preparer.folder / settings.tokenizer, beside / settings.tokenizer)
        files[settings.tokenizer] = sha256_of(beside / settings.tokenizer)
    manifest = Manifest(
        name=folder.name,
        role=stage,
        labels=build.splits.labels,
        thresholds=head.thresholds if isinstance(head, Sigmoid) else None,
        settings=settings,
        variants=variants,
        default_cpu=default,
        default_gpu=default_variant(chosen, latency, "CUDAExecutionProvider"),
        files=files,
        provenance=_provenance(build),
        versions=versions(),
        machine=this_machine(openvino=any(graph.runtime == "openvino" for graph in chosen.values())),
        seed=build.recipe.seed,
        times={
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "latency": {name: latency[graph.name].as_dict() for name, graph in chosen.items()},
        },
    )
    (beside / EVIDENCE).mkdir()
    told = named([verdict.as_dict() for verdict in verdicts], name_of(build.splits))
    write_json(beside / EVIDENCE / "verdicts.json", told)
    write_json(beside / MANIFEST, manifest.model_dump(mode="json"))
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return Artifact.open(folder)


def golden_of(items: Sequence[Array], logits: Mapping[VariantName, Logits], seed: int, head: Head = SOFTMAX) -> Golden:
    """GOLDEN_ITEMS of `items`, drawn from the half that every variant is surer of.

    An item between two labels may get the other one on another CPU, though it computes what it should. `logits`
    [items, labels] are by variant. Which variant is the default has no say: it is measured, so it differs between runs.
    """
    margins = [head.margins(rows) for rows in logits.values()]
    sure = np.argsort(-np.minimum.reduce(margins), kind="stable")[: max(GOLDEN_ITEMS, len(items) // 2)]
    places = np.sort(np.random.default_rng(seed).permutation(sure)[:GOLDEN_ITEMS])
    return Golden(
        items=[items[place] for place in places], logits={name: rows[places] for name, rows in logits.items()}
    )


def _folders(chosen: Mapping[VariantName, Result]) -> dict[Path, VariantName]:
    """The folder of each graph: the name of its variant, that of ONNX Runtime where two runtimes share the graph."""
    return {
        graph.path: name for name, graph in sorted(chosen.items(), key=lambda entry: entry[1].runtime, reverse=True)
    }


def _copied(graph: Result, name: VariantName, folder: Path, *, alone: bool) -> Variant:
    """Copy a graph into the folder `name` of the artifact folder, unless another variant has, and describe it."""
    file = f"{name}/model.onnx"
    (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(graph.path, folder / file)
    digest = sha256_of(folder / file)
    return Variant(
        file=file,
        precision=graph.precision,
        provider=graph.provider,
        sha256=digest,
        size_bytes=graph.size_bytes,
        alone=alone,
        runtime=graph.runtime,
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
