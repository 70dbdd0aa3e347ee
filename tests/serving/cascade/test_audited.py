"""The audit of a cascade: the answers of its expert, through its queue, and a threshold that rises."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.arrays import Array
from serving.audit.auditor import TELL_EVERY_S, Watched
from serving.audit.state import Told
from serving.cascade.audited import auditor_of, rule_of
from serving.cascade.cascade import StageAnswer
from serving.cascade.deferral import should_defer
from serving.cascade.modality import Modality, StoredCascade, StoredModel, StoredPoint
from serving.errors import StageDownError
from serving.expert.call import Ran
from serving.expert.queue import Escalations
from serving.load.budget import Budget
from serving.model.answer import Answer
from serving.model.artifact import Artifact
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from serving.settings import Settings
from serving.timings import Timings
from tests.conftest import TinyCascades
from tests.points import PROMISE, make_point
from tests.serving.expert.fake import Expert, item, later, run
from tests.tiny_recipes import messages

THRESHOLDS = (0.0, 0.5, 1.000001)


class Client:
    """The tiny cascade's real expert, in this process; `turned` turns its answers round."""

    def __init__(self, artifact: Artifact) -> None:
        self._runner = Runner(Session(artifact), preprocessor(artifact))
        self.turned = False

    async def __call__(self, items: Sequence[Array], *_: Any) -> Ran:
        logits = self._runner.run(items)
        return Ran(np.asarray(-logits if self.turned else logits), 0.1)

    async def describe(self) -> Mapping[str, str]:
        return {"variant": "cpu-int8"}

    async def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def made(tiny_cascades: TinyCascades) -> tuple[StoredCascade, Client]:
    screen, expert = (Artifact.open(tiny_cascades.artifact("tiny-text", role)) for role in ("screen", "expert"))
    point = make_point(
        threshold=0.0,
        screen_digest=screen.digest,
        expert_digest=expert.digest,
        screen_variant=screen.manifest.default_cpu,
        expert_variant=expert.manifest.default_cpu,
        certified_thresholds=THRESHOLDS,
    )
    stored = StoredCascade(
        screen=StoredModel(screen, "tiny-text-screen:1"),
        expert=StoredModel(expert, "tiny-text-expert:1"),
        point=StoredPoint(point, "tiny-text-operating-point:1"),
    )
    return stored, Client(expert)


def opened(
    made: tuple[StoredCascade, Client], folder: Path | None, **settings: Any
) -> tuple[Modality, list[tuple[Told, Watched]]]:
    stored, client = made
    chosen = Settings(**{"audit_share": 1.0, **settings})
    modality, told = Modality(stored, client, chosen, tell_drift=lambda _: None), list[tuple[Told, Watched]]()
    modality.auditor = auditor_of(modality, chosen, folder, lambda *each: told.append(each))
    return modality, told


async def answered(modality: Modality, texts: Sequence[str]) -> list[StageAnswer]:
    """Answers to texts, each looked at by the audit, which is waited for."""
    answers = []
    for text in texts:
        items = modality.prepare(text)
        budget = Budget(asyncio.get_running_loop().time(), 1_000.0)
        answers += await modality.cascade.classify([items.screen], [items.expert], budget, Timings())
        assert modality.auditor is not None
        modality.auditor.look(answers[-1:], [items.expert].__getitem__)
        while modality.auditor._working is not None:
            await asyncio.sleep(TELL_EVERY_S / 100)
    modality.auditor.refresh()
    return answers


TEXTS = [text for text, _ in messages(12, seed=77)]


def test_what_disagrees_is_what_the_expert_answers_otherwise(made: tuple[StoredCascade, Client]) -> None:
    modality, told = opened(made, None)
    _, client = made
    answers = asyncio.run(answered(modality, TEXTS))
    experts = [
        modality.cascade.expert_head.answers(
            client._runner.run([modality.prepare(text).expert]), modality.cascade.labels, 1.0
        )[0]
        for text in TEXTS
    ]
    differ = sum(
        given.answer is not None and given.answer.label != theirs.label
        for given, theirs in zip(answers, experts, strict=True)
    )
    watched = told[-1][1]
    assert (watched.audited, watched.disagreed, watched.dropped) == (len(TEXTS), differ, 0)


def test_a_broken_promise_raises_the_threshold_of_the_cascade_where_the_settings_say_so(
    made: tuple[StoredCascade, Client], tmp_path: Path
) -> None:
    _, client = made
    client.turned = True
    try:
        for on_broken, threshold in (("tell", 0.0), ("raise", THRESHOLDS[1])):
            modality, told = opened(made, tmp_path / on_broken, on_broken=on_broken)
            asyncio.run(answered(modality, TEXTS))
            watched = told[-1][1]
            assert watched.promise == "broken"
            assert (modality.cascade.point.threshold >= threshold, bool(watched.raised)) == (True, on_broken == "raise")
            said = asyncio.run(modality.describe())
            assert said["audit"]["promise"] == "broken"
            assert said["audit"]["threshold"] == modality.cascade.point.threshold
            assert said["operating_point"]["threshold"] == 0.0, "what was published"
        raised = modality.cascade.point.threshold
        again, _ = opened(made, tmp_path / "raise", on_broken="tell")
        assert again.cascade.point.threshold == raised > 0.0, "a restart does not let it fall"
    finally:
        client.turned = False


def test_a_threshold_that_rises_leaves_a_label_its_higher_one(
    made: tuple[StoredCascade, Client], tmp_path: Path
) -> None:
    stored, client = made
    strict, other = stored.screen.artifact.manifest.labels[:2]
    point = stored.point.point.model_copy(update={"label_thresholds": {strict: 0.7}})
    of_labels = StoredCascade(screen=stored.screen, expert=stored.expert, point=StoredPoint(point, "mine:1"))
    modality, _ = opened((of_labels, client), tmp_path, on_broken="raise")

    def defers(label: str, confidence: float) -> bool:
        answer = Answer(label=label, confidence=confidence, margin=0.0, scores=())
        return should_defer(answer, modality.cascade.point)

    assert [defers(strict, 0.6), defers(strict, 0.8), defers(other, 0.1)] == [True, False, False]
    modality.rise(0.5)
    assert [defers(strict, 0.6), defers(strict, 0.8), defers(other, 0.4)] == [True, False, True]
    modality.rise(0.9)
    assert [defers(strict, 0.8), defers(other, 0.8), defers(strict, 0.95)] == [True, True, False]
    client.turned = True
    try:
        modality, told = opened((of_labels, client), tmp_path / "broken", on_broken="raise")
        asyncio.run(answered(modality, TEXTS))
        assert told[-1][1].raised
        assert modality.cascade.point.threshold >= THRESHOLDS[1]
        assert modality.cascade.point.label_thresholds == {strict: 0.7}
    finally:
        client.turned = False


def test_a_point_without_a_promise_or_a_share_of_0_is_not_audited(made: tuple[StoredCascade, Client]) -> None:
    assert opened(made, None, audit_share=0.0)[0].auditor is None
    stored, client = made
    point = stored.point.point.model_copy(update={"promise": PROMISE.model_copy(update={"certified": False})})
    unsure = StoredCascade(screen=stored.screen, expert=stored.expert, point=StoredPoint(point, "mine:1"))
    modality, _ = opened((unsure, client), None)
    assert modality.auditor is None
    assert asyncio.run(modality.describe())["audit"] is None


def test_a_point_without_certified_thresholds_tells_and_raises_nothing() -> None:
    assert rule_of(make_point(), raises=True).raises is False
    assert rule_of(make_point(certified_thresholds=THRESHOLDS), raises=True).raises is True


def test_what_nobody_waits_for_goes_when_no_call_runs_and_none_waits() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> Any:
        expert.gate = asyncio.Event()
        first = asyncio.ensure_future(escalations.ask([item(1)], later()))
        await asyncio.sleep(0)
        idle = asyncio.ensure_future(escalations.ask_when_idle([item(9)], 60.0))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(escalations.ask([item(2)], later()))
        await asyncio.sleep(0.01)
        assert [9] not in expert.batches
        expert.gate.set()
        await asyncio.gather(first, second)
        return (await idle).tolist()

    logits, expert = run(scenario)
    assert logits == [[9.0]]
    assert expert.batches == [[1], [2], [9]]


def test_what_nobody_waits_for_is_not_asked_while_the_expert_is_left_alone() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> None:
        expert.error = StageDownError("down")
        for _ in range(3):
            with pytest.raises(StageDownError, match="down"):
                await escalations.ask_when_idle([item(1)], 60.0)
        with pytest.raises(StageDownError, match="is not asked for a while"):
            await escalations.ask_when_idle([item(1)], 60.0)

    _, expert = run(scenario)
    assert len(expert.batches) == 3


def test_what_nobody_waits_for_goes_when_those_that_waited_were_given_up() -> None:
    async def scenario(expert: Expert, escalations: Escalations) -> Any:
        expert.gate = asyncio.Event()
        first = asyncio.ensure_future(escalations.ask([item(1)], later()))
        await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(escalations.ask([item(2)], later()))
        idle = asyncio.ensure_future(escalations.ask_when_idle([item(9)], 60.0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        expert.gate.set()
        await first
        return (await idle).tolist()

    logits, _ = run(scenario)
    assert logits == [[9.0]]
