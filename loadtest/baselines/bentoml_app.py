"""A cascade written as in BentoML's documentation, with all of BentoML's defaults.

`bentoml serve loadtest.baselines.bentoml_app:Plain`. The variables BASELINE_SCREEN and BASELINE_EXPERT hold a model
each as JSON (see `model.Baseline`). The screen's logits are divided by TEMPERATURE; below a confidence of THRESHOLD
the expert is asked.
"""

from __future__ import annotations

import json
import os
import typing as t

import bentoml

from loadtest.baselines.model import Model

THRESHOLD, TEMPERATURE = float(os.environ["THRESHOLD"]), float(os.environ["TEMPERATURE"])


@bentoml.service
class Expert:
    """The expert behind BentoML's adaptive batching."""

    def __init__(self) -> None:
        self.model = Model(json.loads(os.environ["BASELINE_EXPERT"]))

    @bentoml.api(batchable=True)
    def classify(self, items: list[t.Any]) -> list[t.Any]:
        return list(self.model.logits(items))


@bentoml.service
class Plain:
    """The API, with the screen in its own process."""

    expert = bentoml.depends(Expert)

    def __init__(self) -> None:
        self.screen = Model(json.loads(os.environ["BASELINE_SCREEN"]))

    @bentoml.api
    async def classify_text(self, text: str, budget_ms: float = 50.0) -> dict[str, t.Any]:
        item = self.screen.prepare(text)
        answer = self.screen.answer(self.screen.logits([item])[0], TEMPERATURE)
        stage = "screen"
        if answer["confidence"] < THRESHOLD:
            (logits,) = await self.expert.to_async.classify([item])
            answer, stage = self.screen.answer(logits), "expert"
        return {**answer, "stage": stage, "degraded": None}
