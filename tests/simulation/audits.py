"""The audit in a simulated world, and what must be true of it whatever breaks."""

from __future__ import annotations

import random

from serving.arrays import Array, Logits
from serving.audit.auditor import Auditor, Watched
from serving.audit.share import Share
from serving.audit.shared import SharedState
from serving.audit.state import AGREES, Rule, Told
from serving.expert.queue import Escalations
from serving.load.budget import MAX_MS
from serving.model.answer import Answer
from serving.model.head import SOFTMAX


class Audits:
    """Audits a tenth of the trusted answers, or all, in memory; the screen's answer is always the first label."""

    def __init__(self, rng: random.Random, escalations: Escalations, labels: tuple[str, ...]) -> None:
        self.asked: set[int] = set()
        self.answered: list[int] = []
        self.told, self._labels, self._escalations = Told(), labels, escalations
        rule = Rule(alpha=0.999, delta=0.05)  # such a screen is right once in seven times
        self.auditor = Auditor(
            ask=self._ask,
            judge=self._judge,
            rule=rule,
            threshold=0.9,
            share=Share(rng.choice([0.1, 1.0]), rng.randrange(1000)),
            shared=SharedState(None, "made", rule),
            rises=lambda _: None,
            tell=self._tell,
        )

    async def _ask(self, item: Array) -> Logits:
        number = int(item.flat[0])
        self.asked.add(number)
        logits = await self._escalations.ask_when_idle([item], MAX_MS / 1e3)
        self.answered.append(number)
        return logits

    def _judge(self, logits: Logits) -> Answer:
        (answer,) = SOFTMAX.answers(logits, self._labels)
        return answer

    def _tell(self, told: Told, _: Watched) -> None:
        self.told.add(told)

    def at_rest(self) -> None:
        """Nothing waits, each drawn item was counted once, and each disagreement is one."""
        self.auditor.refresh()
        assert self.auditor._working is None
        assert not self.auditor._line
        audited = self.told.results.total()
        assert audited == len(self.answered)
        assert audited + self.told.dropped <= self.told.trusted <= self.told.items
        agrees = sum(count for (_, place), count in self.told.results.items() if place == AGREES)
        assert agrees == sum(number % len(self._labels) == 0 for number in self.answered)
