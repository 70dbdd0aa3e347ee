from __future__ import annotations

from serving.cascade.deferral import LabelPromise
from serving.cascade.described import described_point
from serving.http.schemas import ServedPoint
from tests.points import make_point

PROMISE = LabelPromise(
    label="fraud", kind="false", alpha=0.05, delta=0.05, certified=True, n=100, misses=0, upper_bound=0.0295
)


def test_each_promise_has_its_sentence() -> None:
    point = make_point(label_promises=(PROMISE,), label_thresholds={"fraud": 0.9})
    described = described_point("tiny:1", point, ["another variant runs"])
    assert (described["tag"], described["applies"], described["why_not"]) == ("tiny:1", False, ["another variant runs"])
    assert described["promise"]["statement"] == point.promise.statement
    assert [each["statement"] for each in described["label_promises"]] == [PROMISE.statement]
    assert described["label_thresholds"] == {"fraud": 0.9}
    assert "reference" not in described
    ServedPoint.model_validate(described, strict=False)


def test_what_there_is_not_is_left_out() -> None:
    assert not {"label_promises", "label_thresholds", "certified_on"} & described_point("t:1", make_point(), []).keys()
