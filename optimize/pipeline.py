"""Carry a recipe from its steps to a report: search, steps, choice, artifacts, operating point, evidence, report.

The selection set decides what is published, the certification set where the threshold lies. The holdout is read once,
at the end, and decides only whether the gates hold.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from functools import partial
from typing import Any

from optimize.build import Build
from optimize.data.splits import Split
from optimize.errors import GateError
from optimize.judge.gates import chosen_variants, default_cpu_variant, judge, quality_evidence, require
from optimize.judge.measure import logits_of, measure, served_logits
from optimize.judge.operating_point import Stages, cascade_answers, choose
from optimize.judge.quality import accuracy
from optimize.judge.quality_name import name_of
from optimize.judge.ready_graph import require_equal_everywhere
from optimize.judge.search import search
from optimize.judge.teacher import require_teacher
from optimize.judge.verify import References, verify, write_evidence
from optimize.models.decisions import head_for
from optimize.models.distillation import DistillationConfig
from optimize.progress import console, running
from optimize.publish.assemble import assemble, state_quality, write_operating_point
from optimize.recipe import OperatingPointRecipe, Recipe, read_steps
from optimize.report.facts import Facts
from optimize.report.page import write_report
from optimize.report.summary import tell
from optimize.results import STAGES, Stage, digest_of
from optimize.steps.step import outputs_name
from serving.arrays import Logits
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import Artifact, VariantName
from serving.model.head import Decisions, Head, head_of
from serving.model.session import served_variant

ROUNDS = 100
RESULT_NAME = re.compile(r"[a-z0-9-]+-[0-9a-f]{12}(\.onnx)?")

Artifacts = Mapping[Stage, Artifact]


def evaluate(build: Build, command: str) -> dict[str, Any]:
    """Everything but publishing; returns the content of report.json.

    Raises GateError when a gate is missed, after the report is written, and at once for a teacher near chance.
    """
    require_equal_everywhere(build)
    require_teacher(build)
    written = build.recipe
    build, trials, chosen = search(build)
    results = build.carry_out()
    _tidy(build)
    selection, targets = partial(build.prepared, "selection"), build.splits.selection.targets
    latency = measure(build, results, selection, ROUNDS)
    with running("predictions on the selection set"):
        on_selection = {result.name: logits_of(build, result, selection(result)) for result in results}
    verdicts = {stage: judge(build, stage, on_selection, targets, latency) for stage in STAGES}
    variants = {stage: chosen_variants(build.graphs(stage), verdicts[stage], latency) for stage in STAGES}
    artifacts = {
        stage: assemble(build, stage, variants[stage], verdicts[stage], latency, on_selection) for stage in STAGES
    }
    point, certification = choose_point(build, artifacts, build.recipe.operating_point)
    heads = _heads(build, on_selection, targets)
    holdout, failed, holdout_split = verify_all(build, artifacts, point, command, heads[build.teacher.name])
    facts = Facts(
        heads=heads,
        latency=latency,
        verdicts=[verdict for stage in STAGES for verdict in verdicts[stage]],
        on_selection=on_selection,
        selection_targets=targets,
        certification=certification,
        holdout=holdout,
        holdout_split=holdout_split,
        artifacts=artifacts,
        defaults={stage: variants[stage][default_cpu_variant(variants[stage], latency)] for stage in STAGES},
        point=point,
        trials=trials,
        chosen_trial=chosen,
        failed=failed,
        command=command,
    )
    report = write_report(build, facts)
    tell(report)
    tidy_kept(build, written)
    require(failed)
    return report


def _heads(build: Build, on_selection: Mapping[str, Logits], targets: Decisions) -> dict[str, Head]:
    """The head of each result, by its name; a graph has that of the checkpoint that it was exported from."""
    read_by = {r.name: build.checkpoint_of(r.role) if r.is_graph and r.role != "teacher" else r for r in build.results}
    return {name: head_for(on_selection[of.name], targets) for name, of in read_by.items()}


def _tidy(build: Build) -> None:
    """Remove the results of earlier recipes and other trials from the build folder, and nothing else."""
    kept = {result.path for result in build.results}
    for path in (path for role in ("teacher", *STAGES) for path in (build.folder / role).glob("*")):
        if path not in kept and RESULT_NAME.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in build.folder.glob("training-*.pt"):
        path.unlink()


def tidy_kept(build: Build, recipe: Recipe) -> None:
    """Remove what earlier forms of `recipe` kept and this one has no use for: token ids, teacher outputs, students.

    What its steps would read, had their results not been reused, stays. The recipe of `build` has the screen that a
    search chose, to which the space of the search need not apply.
    """
    preparers = {build.preparer, *(build.preparer_of(result) for result in build.results)}
    wanted = {preparer.tokens_name(split) for preparer in preparers for split in build.splits.all}
    possible = [*recipe.possible_steps, *build.recipe.screen]
    steps = [step for step in possible if isinstance(step, DistillationConfig)]
    wanted |= {outputs_name(step, build.teacher, build.splits, recipe.seed) for step in steps}
    build.kept.remove_others(wanted)


def verify_again(build: Build, command: str) -> None:
    """Hold the artifacts and the operating point of an earlier `evaluate` against their gates.

    Raises GateError when a gate is missed.
    """
    artifacts, point = opened(build), OperatingPoint.read(build.point_folder)
    point.require_pair(artifacts["screen"].digest, artifacts["expert"].digest)
    build = build.with_screen(read_steps(artifacts["screen"].manifest.provenance["screen"]))
    build.carry_out()
    selection = build.prepared("selection")
    head = head_for(logits_of(build, build.teacher, selection), selection.targets)
    _, failed, _ = verify_all(build, artifacts, point, command, head)
    require(failed)


def opened(build: Build) -> Artifacts:
    """The artifacts that an earlier `evaluate` left. Raises ArtifactError, which names the command, without them.

    Raises GateError when they come from another recipe or other data: they may have been trained on the items that
    their promise would rest on.
    """
    artifacts = {stage: Artifact.open(build.artifact_folder(stage)) for stage in STAGES}
    now = {"recipe_digest": build.recipe_digest, "data": build.splits.describe()}
    for artifact in artifacts.values():
        for what, value in now.items():
            if artifact.manifest.provenance.get(what) != value:
                raise GateError(
                    f"{artifact.folder} was made with another {what.removesuffix('_digest')} than is there now; "
                    "make it anew with `python -m optimize evaluate RECIPE`"
                )
    return artifacts


def choose_point(build: Build, artifacts: Artifacts, config: OperatingPointRecipe) -> tuple[OperatingPoint, Stages]:
    """Choose the operating point of a pair as it is served, and write its artifact folder.

    Returns the point and the logits of the certification set.
    """
    variants = served_variants(artifacts)
    heads = head_of(artifacts["screen"].manifest), head_of(artifacts["expert"].manifest)

    def stages(split: Split) -> Stages:
        screen, expert = (served_logits(artifacts[stage], variants[stage], split) for stage in ("screen", "expert"))
        return Stages(screen, expert, split.targets, *heads, build.splits.labels)

    selection, certification = stages(build.splits.selection), stages(build.splits.certification)
    chosen_for = {f"{stage}_digest": artifacts[stage].digest for stage in STAGES}
    chosen_for |= {f"{stage}_variant": variants[stage] for stage in STAGES}
    point = choose(selection, certification, config, chosen_for)
    write_operating_point(build.point_folder, point)
    tell_point(point)
    return point, certification


def tell_point(point: OperatingPoint) -> None:
    """Say where the thresholds lie and what is promised."""
    console.print(f"operating point: confidence below {point.threshold:.4f} escalates; {point.promise.statement}")
    for label, threshold in point.label_thresholds.items():
        console.print(f"operating point: where the screen says {label}, below {threshold:.4f}")
    for promise in point.label_promises:
        console.print(f"operating point: {promise.label}: {promise.statement}")


def served_variants(artifacts: Artifacts) -> dict[Stage, VariantName]:
    """The variant of each stage that is served on this machine; a screen always runs on the CPU."""
    return {"screen": artifacts["screen"].manifest.default_cpu, "expert": served_variant(artifacts["expert"])}


def verify_all(
    build: Build, artifacts: Artifacts, point: OperatingPoint, command: str, teacher_head: Head
) -> tuple[dict[str, Logits], list[str], Split]:
    """Write the evidence of every variant and of the cascade; `teacher_head` reads the teacher's logits.

    Returns the holdout's logits [items, labels] by the name of the result, a sentence for each gate missed, and the
    holdout. The logits under "screen" and "expert" are those of the variants that are served.
    """
    split = build.read_holdout()
    recipe = build.recipe
    with running("predictions on the holdout"):
        known = {result.name: logits_of(build, result, build.prepared_for(result, split)) for result in build.results}
    failed: list[str] = []
    teacher = teacher_head.decide(known[build.teacher.name])
    served = served_variants(artifacts)
    for stage in STAGES:
        artifact = artifacts[stage]
        checkpoint = build.checkpoint_of(stage)
        references = References(checkpoint=known[checkpoint.name], computed_in=checkpoint.computed_in, teacher=teacher)
        gate = recipe.quality.of(stage)
        variants, missed = verify(
            artifact, split, references, gates=recipe.gates, gate=gate, seed=recipe.seed, command=command
        )
        known[stage] = variants[served[stage]]
        failed += missed
        state_quality(artifact, _quality(artifact, variants, split))
    heads = head_of(artifacts["screen"].manifest), head_of(artifacts["expert"].manifest)
    of_cascade = Stages(known["screen"], known["expert"], split.targets, *heads, build.splits.labels)
    failed += _verify_cascade(build, of_cascade, point, split, command)
    return known, failed, split


def _quality(
    artifact: Artifact, variants: Mapping[VariantName, Logits], split: Split
) -> dict[VariantName, dict[str, float]]:
    """What a manifest says of each variant: `holdout_accuracy`, or for label sets `holdout_micro_f1`."""
    head, said = head_of(artifact.manifest), f"holdout_{name_of(split).key}"
    return {name: {said: accuracy(logits, split.targets, head)} for name, logits in variants.items()}


def _verify_cascade(build: Build, stages: Stages, point: OperatingPoint, split: Split, command: str) -> list[str]:
    """Write the cascade's evidence beside the operating point; a sentence for each gate missed."""
    recipe = build.recipe
    answers, deferred = cascade_answers(stages, point)
    theirs = stages.expert_head.decide(stages.expert)
    evidence = quality_evidence(answers, theirs, split, build.splits.labels, recipe.quality.cascade, recipe.seed)
    of = {"operating_point": digest_of(point.model_dump(mode="json"))}
    found = {"escalation_share": float(deferred.mean()), "quality": evidence, "passed": not evidence["failed"]}
    write_evidence(build.point_folder, "cascade", {"command": command, **of, **found}, split)
    return [f"{recipe.name} cascade: {miss}" for miss in evidence["failed"]]
