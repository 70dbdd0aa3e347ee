"""`operating-point --traffic`: an operating point for the artifacts of a build, certified on unlabelled traffic.

The promise compares the screen with the expert, so no label is needed. A part of the rows, drawn by the recipe's seed,
gives the thresholds to try and what the drift monitor compares with; the promise is tested on all others, which are
independent of it. The temperatures stay those that were fitted on labelled rows.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from optimize.build import Build
from optimize.errors import DataError, GateError
from optimize.judge.measure import ServedItems, served_logits
from optimize.judge.operating_point import choose_at, needed, upper_bound
from optimize.judge.stages import Stages
from optimize.judge.verify import EVIDENCE
from optimize.pipeline import opened, tell_point
from optimize.progress import console
from optimize.publish.assemble import write_operating_point
from optimize.publish.cascades import ROLES, cascade_of
from optimize.recipe import OperatingPointRecipe
from optimize.score.asked import Asked
from optimize.score.scorer import Scorer
from optimize.traffic.differences import Differences, differences
from optimize.traffic.stages import Traffic, error_counts, read_traffic
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import write_json
from serving.model.head import head_of
from serving.model.windows import length_of

SELECTION_SHARE, MOST_SELECTED = 0.2, 2_000
LEAST_ROWS = 20
MOST_ERRORS = 5
SHOWN_MISSES = (0, 3, 10)


def certify_traffic(
    build: Build, path: Path, asked: Asked, config: OperatingPointRecipe, *, threads: int
) -> OperatingPoint:
    """Choose the operating point of an earlier `evaluate` anew on the traffic in `path`, and write its folder.

    Raises GateError where the artifacts do not compute here what was certified, DataError for too few rows.
    """
    artifacts, before = opened(build), OperatingPoint.read(build.point_folder)
    before.require_pair(artifacts["screen"].digest, artifacts["expert"].digest)
    cascade = cascade_of([build.artifact_folder(role) for role in ROLES], [f"{build.recipe.name}:build"] * 3)
    scorer = Scorer(cascade, threads=threads)
    try:
        if against := scorer.screen.against or scorer.expert.against:
            raise GateError(f"nothing can be certified here: {against}")
        traffic = read_traffic(cascade, scorer, path, asked, build.folder)
    finally:
        scorer.close()
    if len(traffic) < LEAST_ROWS:
        raise DataError(
            f"data {traffic.name} has {len(traffic)} rows that can be used, at least {LEAST_ROWS} are needed; bring "
            "more, or name the columns with --text-column or --image-column"
        )
    heads = head_of(artifacts["screen"].manifest), head_of(artifacts["expert"].manifest)

    def stages(places: Any) -> Stages:
        expert = traffic.expert[places]
        return Stages(traffic.screen[places], expert, heads[1].decide(expert), *heads, scorer.labels)

    order = np.random.default_rng(build.recipe.seed).permutation(len(traffic))
    selected = min(MOST_SELECTED, int(SELECTION_SHARE * len(traffic)))
    selection, certification = stages(np.sort(order[:selected])), stages(np.sort(order[selected:]))
    split = build.splits.selection
    known = Stages(
        served_logits(artifacts["screen"], scorer.screen.variant, split),
        served_logits(artifacts["expert"], scorer.expert.variant, split),
        split.targets,
        *heads,
        scorer.labels,
    )
    lengths = np.array([length_of(item) for item in ServedItems(artifacts["screen"], split)])
    differ = differences(known, stages(slice(None)), before.screen_temperature, (lengths, traffic.lengths))
    kept = before.model_dump(
        include={"screen_digest", "expert_digest", "screen_temperature", "expert_temperature", "calibration"}
    )
    variants = {"screen_variant": scorer.screen.variant, "expert_variant": scorer.expert.variant}
    point = choose_at(selection, certification, config, {**kept, **variants, "certified_on": "traffic"})
    write_operating_point(build.point_folder, point)
    _write_evidence(build.point_folder, traffic, selected, differ)
    _tell(traffic, point, differ)
    return point


def _write_evidence(folder: Path, traffic: Traffic, selected: int, differ: Differences) -> None:
    (folder / EVIDENCE).mkdir()
    counts = {"usable": len(traffic), "selection": selected, "certification": len(traffic) - selected}
    write_json(
        folder / EVIDENCE / "traffic.json",
        {
            "name": traffic.name,
            "rows": {**counts, "unusable": traffic.errors.total()},
            "errors": dict(traffic.errors.most_common(MOST_ERRORS)),
            "differences": asdict(differ),
        },
    )


def _tell(traffic: Traffic, point: OperatingPoint, differ: Differences) -> None:
    for said in error_counts(traffic.errors, MOST_ERRORS):
        console.print(f"traffic: left out: {said}")
    n, alpha, delta = point.promise.n, point.promise.alpha, point.promise.delta
    bounds = ", ".join(f"{upper_bound(misses, n, delta):.3%} with {misses}" for misses in SHOWN_MISSES if misses < n)
    console.print(f"traffic: {n:,} rows certify, by their misses, a share of at least {bounds}")
    if (least := needed(0.0, alpha, delta) or 0) > n:
        console.print(f"traffic: a share of {alpha:.3%} takes {least:,} rows, or a larger --alpha")
    for sentence in differ.sentences:
        console.print(f"traffic: {sentence}")
    tell_point(point)
