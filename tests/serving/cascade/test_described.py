"""What /models says of promises and of a model."""

from __future__ import annotations

from serving.cascade.deferral import LabelPromise
from serving.cascade.described import described_model, described_point
from serving.http.schemas import ServedPoint
from serving.model.artifact import Artifact
from tests.conftest import TinyCascades
from tests.points import make_point

PROMISE = LabelPromise(
    label="fraud", kind="false", alpha=0.05, delta=0.05, certified=True, n=100, misses=0, upper_bound=0.0295
)


def test_a_point_says_what_is_promised_and_what_speaks_against_it() -> None:
    point = make_point(certified_thresholds=(0.8, 0.9))
    said = described_point("mine-operating-point:1", point, ["another expert runs"])
    assert (said["tag"], said["applies"], said["why_not"]) == ("mine-operating-point:1", False, ["another expert runs"])
    assert said["promise"]["statement"].startswith("certified: ")
    assert not {"reference", "certified_thresholds"} & said.keys(), "long lists"
    assert described_point("mine-operating-point:1", point, [])["applies"] is True


def test_each_promise_has_its_sentence() -> None:
    point = make_point(label_promises=(PROMISE,), label_thresholds={"fraud": 0.9})
    described = described_point("tiny:1", point, ["another variant runs"])
    assert described["promise"]["statement"] == point.promise.statement
    assert [each["statement"] for each in described["label_promises"]] == [PROMISE.statement]
    assert described["label_thresholds"] == {"fraud": 0.9}
    ServedPoint.model_validate(described, strict=False)


def test_what_there_is_not_is_left_out() -> None:
    assert not {"label_promises", "label_thresholds", "certified_on"} & described_point("t:1", make_point(), []).keys()


def test_a_model_says_what_runs_of_it_and_not_what_speaks_against_that(tiny_cascades: TinyCascades) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "screen"))
    said = described_model("tiny-text-screen:1", artifact, {"variant": "cpu-int8", "against": "something"}, 1.0)
    assert said["execution_provider"] == {"variant": "cpu-int8"}
    assert (said["tag"], said["digest"]) == ("tiny-text-screen:1", artifact.digest)
    assert "least_scores" not in said, "its items have one label each"
