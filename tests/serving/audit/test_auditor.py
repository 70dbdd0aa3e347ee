"""The line to an idle expert: who is drawn, what is dropped, what is told, and that a request never waits for it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.audit.auditor import LINE, Auditor, Watched
from serving.audit.share import Share
from serving.audit.shared import SharedState
from serving.audit.state import Rule, Told
from serving.cascade.cascade import StageAnswer
from serving.errors import StageDownError
from serving.model.answer import Answer
from tests.serving.expert.virtual import virtually

LABELS = ("a", "b")
RULE = Rule(alpha=0.01, delta=0.05, thresholds=(0.8, 0.9, 1.000001), raises=True)


class Expert:
    """Answers item n with label n, once `gate` is open; fails on negative ones."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, item: Array) -> Logits:
        await self.gate.wait()
        self.asked.append(int(item[0]))
        if item[0] == -1:
            raise StageDownError("down")
        if item[0] == -2:
            raise RuntimeError("a fault of ours")
        logits = np.zeros((1, 2), dtype=np.float32)
        logits[0, int(item[0]) % 2] = math.nan if item[0] == -3 else 9.0
        return logits


def judge(logits: Logits) -> Answer:
    confidence = float(logits.max())
    label = LABELS[int(logits.argmax())]
    return Answer(label=label, confidence=confidence, margin=confidence, scores=(0.5, 0.5))


def screens(label: str = "a", confidence: float = 0.95, **changes: Any) -> StageAnswer:
    answer = Answer(label=label, confidence=confidence, margin=confidence, scores=(0.5, 0.5))
    return StageAnswer(**{"answer": answer, "stage": "screen", "escalated": False, "degraded": None, **changes})


class Made:
    """An auditor of every trusted answer, its expert, and what it has told."""

    def __init__(self, folder: Path | None = None, share: float = 1.0, elsewhere: Any = None) -> None:
        self.expert, self.told, self.rose = Expert(), list[tuple[Told, Watched]](), list[float]()
        self.auditor = Auditor(
            ask=self.expert,
            judge=judge,
            rule=RULE,
            threshold=0.8,
            share=Share(share, seed=1),
            shared=SharedState(folder, "mine:1", RULE),
            rises=self.rose.append,
            tell=lambda *told: self.told.append(told),
            elsewhere=elsewhere,
        )

    def look(self, answers: Sequence[StageAnswer], items: Sequence[int]) -> None:
        self.auditor.look(answers, [np.array([item]) for item in items].__getitem__)

    def counts(self) -> tuple[int, int, int]:
        watched = self.auditor.watched()
        return watched.audited, watched.disagreed, watched.dropped


async def rested(made: Made) -> None:
    """Wait until the line is empty, then tell."""
    while made.auditor._working is not None:
        await asyncio.sleep(0.01)
    made.auditor.refresh()


def test_only_answers_that_the_screen_was_trusted_with_are_audited_and_all_count() -> None:
    async def main() -> Made:
        made = Made()
        others = [
            screens(stage="expert", escalated=True),
            screens(degraded="deadline", escalated=True),
            screens(answer=None, degraded="failed"),
        ]
        made.look([screens(), *others, screens("b"), screens("a", cached="kept")], [0, 11, 13, 15, 2, 4])
        assert made.expert.asked == [], "the answers have not left yet"
        await rested(made)
        return made

    made = virtually(main)
    assert made.expert.asked == [0, 2, 4]
    assert made.counts() == (3, 1, 0)
    told = made.told[-1][0]
    assert (told.items, told.trusted) == (6, 3)


def test_the_order_is_that_of_the_answers_and_a_full_line_drops_the_newcomer() -> None:
    async def main() -> Made:
        made = Made()
        made.expert.gate.clear()
        for number in range(LINE + 5):
            made.look([screens()], [2 * number])
        assert made.expert.asked == []
        made.expert.gate.set()
        await rested(made)
        return made

    made = virtually(main)
    assert made.expert.asked == [2 * number for number in range(LINE)]
    assert made.counts() == (LINE, 0, 5)


def test_what_fails_is_dropped_and_the_next_item_is_asked_about(logged: list[logging.LogRecord]) -> None:
    async def main() -> Made:
        made = Made()
        made.look([screens()] * 5, [-1, -2, -3, 0, 1])
        await rested(made)
        return made

    made = virtually(main)
    assert made.expert.asked == [-1, -2, -3, 0, 1]
    assert made.counts() == (2, 1, 3)
    assert [record.getMessage() for record in logged] == ["an answer cannot be audited"]


def test_a_kept_answer_is_prepared_when_its_turn_has_come() -> None:
    prepared: list[int] = []

    def item(place: int) -> Any:
        def prepare() -> Array:
            prepared.append(place)
            return np.array([place])

        return prepare

    async def main() -> tuple[int, int, int]:
        made = Made()
        made.auditor.look([screens(cached="kept"), screens(cached="kept")], item)
        assert prepared == []
        await rested(made)
        return made.counts()

    assert asyncio.run(main()) == (2, 1, 0)
    assert prepared == [0, 1]


def test_a_broken_promise_raises_the_threshold_once_in_every_process(
    tmp_path: Path, logged: list[logging.LogRecord]
) -> None:
    async def main() -> tuple[Made, Made]:
        made, beside = Made(tmp_path), Made(tmp_path)
        made.look([screens("a", confidence=0.85)] * LINE, [1] * LINE)
        await rested(made)
        beside.auditor.refresh()
        return made, beside

    made, beside = asyncio.run(main())
    assert made.rose == beside.rose == [0.9]
    watched = beside.auditor.watched()
    assert (watched.promise, watched.threshold, len(watched.raised)) == ("broken", 0.9, 1)
    assert watched.why == watched.raised[0].reason
    said = [record.getMessage() for record in logged]
    assert len(said) == 4, "each process says once that it is broken, and that the threshold rose"
    assert said[1] == f"the threshold of mine:1 rose from 0.8000 to 0.9000 at {watched.since}: {watched.why}"
    again = Made(tmp_path)
    assert again.rose == [0.9], "a restart does not let it fall"


def test_an_item_that_another_threshold_answered_does_not_count(tmp_path: Path) -> None:
    async def main() -> Made:
        made, beside = Made(tmp_path), Made(tmp_path)
        made.expert.gate.clear()
        made.look([screens()] * 3, [1, 1, 1])
        while len(made.auditor._line) == 3:  # until the first one has left it
            await asyncio.sleep(0.01)
        beside.look([screens("a", confidence=0.85)] * LINE, [1] * LINE)
        await rested(beside)
        made.auditor.refresh()
        made.expert.gate.set()
        await rested(made)
        return made

    made = asyncio.run(main())
    assert made.auditor._state.life == 1
    assert made.auditor._state.whole.n == 0
    assert len(made.expert.asked) == 1, "those that waited behind it were left out"


def test_what_was_counted_is_told_and_saved_each_second_and_at_the_end(tmp_path: Path) -> None:
    async def main() -> Made:
        made = Made(tmp_path)
        keeping = asyncio.ensure_future(made.auditor.run())
        made.look([screens()] * 4, [0, 0, 0, 1])
        while made.counts() != (4, 1, 0):
            await asyncio.sleep(0.01)
        assert Made(tmp_path).counts() == (4, 1, 0)
        made.look([screens()], [1])
        while made.auditor._working is not None:
            await asyncio.sleep(0.01)
        keeping.cancel()
        await asyncio.wait([keeping])
        return made

    made = asyncio.run(main())
    assert Made(tmp_path).counts() == made.counts() == (5, 2, 0)
    assert sum(told.items for told, _ in made.told) == 5


@pytest.mark.parametrize("kept", [False, True])
def test_with_nothing_new_nothing_is_computed_anew(tmp_path: Path, kept: bool) -> None:
    made = Made(tmp_path if kept else None)
    known = made.auditor._known
    made.auditor.refresh()
    assert made.auditor._known is known
