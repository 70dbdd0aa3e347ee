"""What became of a request, in one word."""

from __future__ import annotations

import pytest

from serving.cascade.cascade import StageAnswer
from serving.model.answer import Answer
from serving.watch.record import RequestRecord

ANSWER = Answer(label="a", confidence=0.9, margin=0.8, scores=(0.9, 0.1))


def item(stage: str = "screen", degraded: str | None = None) -> StageAnswer:
    return StageAnswer(answer=ANSWER, stage=stage, escalated=stage == "expert", degraded=degraded)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "items", "hung_up", "outcome", "stage"),
    [
        (200, [item()], False, "ok", "screen"),
        (200, [item(), item("expert")], False, "ok", "expert"),
        (200, [item("expert"), item(degraded="deadline")], False, "degraded", "expert"),
        (200, [item(degraded="down")], False, "degraded", "screen"),
        (200, [item(degraded="gone")], False, "gone", "screen"),
        (200, [], False, "ok", "none"),
        (400, [], True, "gone", "none"),
        (400, [], False, "invalid", "none"),
        (408, [], False, "invalid", "none"),
        (422, [], False, "invalid", "none"),
        (500, [], False, "failed", "none"),
        (503, [], False, "shed", "none"),
    ],
)
def test_a_request_has_one_outcome_and_one_stage(
    status: int, items: list[StageAnswer], hung_up: bool, outcome: str, stage: str
) -> None:
    record = RequestRecord("/classify_texts", "an-id")
    record.answers, record.hung_up = items, hung_up
    assert (record.outcome(status), record.stage) == (outcome, stage)
