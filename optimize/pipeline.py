"""The whole road of a recipe: steps, search, choice, artifacts, operating point, evidence, report.

The selection set decides what is published, the certification set where the threshold lies; the holdout is read once,
at the end, and decides nothing but whether the gates hold.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimize.build import Build
from optimize.data.splits import Split
from optimize.errors import GateError
from optimize.judge.gates import accuracy, judge, logits_of, measure
from optimize.judge.operating_point import Stages, cascade_labels, choose
from optimize.judge.search import search
from optimize.judge.verify import References, quality_evidence, require, served_logits, verify, write_evidence
from optimize.progress import console, running
from optimize.publish.assemble import assemble, state_quality, write_operating_point
from optimize.recipe import OperatingPointRecipe, digest_of, read_steps
from optimize.report.page import Facts, write_report
from optimize.report.summary import tell
from optimize.results import ROLES
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import Artifact, VariantName
from serving.model.session import served_variant

ROUNDS = 100
RESULT_NAME = re.compile(r"[a-z0-9-]+-[0-9a-f]{12}(\.onnx)?")

Logits = NDArray[np.float32]


def evaluate(build: Build, command: str) -> dict[str, Any]:
    """All but publishing: return the content of report.json. Raises GateError when a gate is not held, after the
    report was written.
    """
    build, trials, chosen = search(build)
    results = build.carry_out()
    _tidy(build)
    selection = build.prepared("selection")
    latency = measure(build, results, selection, ROUNDS)
    with running("predictions on the selection set"):
        on_selection = {result.name: logits_of(build, result, selection) for result in results}
    verdicts = {role: judge(build, role, on_selection, selection.targets, latency) for role in ROLES}
    artifacts = {role: assemble(build, role, verdicts[role], latency) for role in ROLES}
    point, certification = choose_point(build, artifacts, build.recipe.operating_point)
    holdout, failed, holdout_split = verify_all(build, artifacts, point, command)
    report = write_report(
        build,
        Facts(
            latency=latency,
            verdicts=[verdict for role in ROLES for verdict in verdicts[role]],
            on_selection=on_selection,
            selection_targets=selection.targets,
            certification=certification,
            holdout=holdout,
            holdout_split=holdout_split,
            artifacts=artifacts,
            point=point,
            trials=trials,
            chosen_trial=chosen,
            failed=failed,
            command=command,
        ),
    )
    tell(report)
    require(failed)
    return report


def _tidy(build: Build) -> None:
    """Take away what earlier recipes and other trials left in the folders of the steps, and nothing else."""
    kept = {result.path for result in build.results}
    for path in (path for role in ("teacher", *ROLES) for path in (build.folder / role).glob("*")):
        if path not in kept and RESULT_NAME.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in build.folder.glob("training-*.pt"):
        path.unlink()


def verify_again(build: Build, command: str) -> None:
    """Hold the artifacts and the operating point of an earlier `evaluate` against their gates; GateError where one
    is not held.
    """
    artifacts, point = opened(build), OperatingPoint.read(build.point_folder)
    point.require_pair(artifacts["screen"].digest, artifacts["expert"].digest)
    build = build.with_screen(read_steps(artifacts["screen"].manifest.provenance["screen"]))
    build.carry_out()
    _, failed, _ = verify_all(build, artifacts, point, command)
    require(failed)


def opened(build: Build) -> dict[str, Artifact]:
    """The artifacts that an earlier `evaluate` left; ArtifactError names the command where there are none.

    Raises GateError when they are of another recipe or of other data: their promise would rest on items that they may
    have been trained on.
    """
    artifacts = {role: Artifact.open(build.artifact_folder(role)) for role in ROLES}
    now = {"recipe_digest": build.recipe_digest, "data": build.splits.describe()}
    for artifact in artifacts.values():
        for what, value in now.items():
            if artifact.manifest.provenance.get(what) != value:
                raise GateError(
                    f"{artifact.folder} was made with another {what.removesuffix('_digest')} than is there now; "
                    "make it anew with `python -m optimize evaluate RECIPE`"
                )
    return artifacts


def choose_point(
    build: Build, artifacts: dict[str, Artifact], config: OperatingPointRecipe
) -> tuple[OperatingPoint, Stages]:
    """Choose the operating point of a pair as it is served, and write its artifact; the certification set's logits."""
    variants = served_variants(artifacts)
    stages = []
    for split in (build.splits.selection, build.splits.certification):
        screen, expert = (served_logits(artifacts[role], variants[role], split) for role in ("screen", "expert"))
        stages.append(Stages(screen, expert, split.targets))
    chosen_for = {f"{role}_digest": artifacts[role].digest for role in ROLES}
    chosen_for |= {f"{role}_variant": variants[role] for role in ROLES}
    point = choose(*stages, config, chosen_for)
    write_operating_point(build.point_folder, point)
    console.print(f"operating point: confidence below {point.threshold:.4f} escalates; {point.promise.statement}")
    return point, stages[1]


def served_variants(artifacts: Mapping[str, Artifact]) -> dict[str, VariantName]:
    """The variant that each role is served with on this machine; screens run in the API's process, on the CPU."""
    return {"screen": artifacts["screen"].manifest.default_cpu, "expert": served_variant(artifacts["expert"])}


def verify_all(
    build: Build, artifacts: dict[str, Artifact], point: OperatingPoint, command: str
) -> tuple[dict[str, Logits], list[str], Split]:
    """Evidence for every variant and for the cascade: the holdout's logits by step, the gates that do not hold, and
    the holdout.

    The logits of a published graph are those of its variant as it is served; `screen` and `expert` are the defaults.
    """
    split = build.read_holdout()
    recipe, prepared = build.recipe, build.preparer.prepare(split)
    with running("predictions on the holdout"):
        known = {result.name: logits_of(build, result, prepared) for result in build.results}
    failed: list[str] = []
    served = served_variants(artifacts)
    for role in ROLES:
        artifact = artifacts[role]
        references = References(checkpoint=known[build.checkpoint_of(role).name], teacher=known[build.teacher.name])
        gate = getattr(recipe.quality, role)
        variants, missed = verify(
            artifact, split, references, gates=recipe.gates, gate=gate, seed=recipe.seed, command=command
        )
        known[role] = variants[served[role]]
        failed += missed
        accuracies = {n: {"holdout_accuracy": accuracy(logits, split.targets)} for n, logits in variants.items()}
        state_quality(artifact, accuracies)
    labels, deferred = cascade_labels(known["screen"], known["expert"], point)
    evidence = quality_evidence(
        labels, known["expert"].argmax(axis=1), split, build.splits.labels, recipe.quality.cascade, recipe.seed
    )
    failed += [f"{recipe.name} cascade: {miss}" for miss in evidence["failed"]]
    of = {"operating_point": digest_of(point.model_dump(mode="json"))}
    found = {"escalation_share": float(deferred.mean()), "quality": evidence, "passed": not evidence["failed"]}
    write_evidence(build.point_folder, "cascade", {"command": command, **of, **found}, split)
    return known, failed, split
