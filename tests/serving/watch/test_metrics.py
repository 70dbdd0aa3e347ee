"""Metrics: what is counted and set, and how several processes share it."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.arguments import Chosen
from serving.cascade.cascade import StageAnswer
from serving.cascade.drift import Drift
from serving.cascade.kept import KeptAnswers
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.model.answer import Answer
from serving.model.golden import GoldenCheck
from serving.watch import metrics as module
from serving.watch.metrics import COUNTED_TOGETHER, Metrics
from serving.watch.record import RequestRecord
from tests.serving.conftest import sample

HOWS: tuple[Literal["kept", "joined"], ...] = ("kept", "joined")
ANSWER = Answer(label="a", confidence=0.9, margin=0.8, scores=(0.9, 0.1))


class Escalations:
    """Stands in for the queue before an expert, as far as a metric reads it."""

    def __init__(self, waiting: int, state: str) -> None:
        self.waiting = waiting
        self.breaker = SimpleNamespace(state=lambda _now: state)


def modality(waiting: int = 0, state: str = "closed", name: str = "a") -> Any:
    info = {"digest": "1" * 64, "variant": "cpu-int8", "provider": "CPUExecutionProvider", "device": "cpu"}
    return SimpleNamespace(
        kind="text",
        name=name,
        escalations=Escalations(waiting, state),
        screen_tag="screen:1",
        screen_info=info,
        golden=GoldenCheck(against=""),
        tell_drift=lambda: None,
        expert_tag="expert:1",
    )


def answered(*degraded: str | None) -> RequestRecord:
    """A record of a request whose items the screen answered."""
    record = RequestRecord("/classify_texts", "one")
    record.was_read(50.0)
    record.timings.end("screen")
    record.answered(
        modality(), [StageAnswer(answer=ANSWER, stage="screen", escalated=False, degraded=why) for why in degraded]
    )
    return record


def test_a_request_and_each_of_its_items_is_counted(metrics: Metrics) -> None:
    async def main() -> None:
        metrics.ended(answered(None, "deadline"), "degraded")

    asyncio.run(main())
    metrics.flush()
    labels = {"endpoint": "/classify_texts", "outcome": "degraded", "stage": "screen", "model": "screen:1"}
    assert sample("sieve_requests_total", **labels) == 1
    for why, count in (("no", 1), ("deadline", 1), ("down", 0)):
        assert sample("sieve_answers_total", modality="text", stage="screen", degraded=why) == count
    assert sample("sieve_latency_seconds_count", endpoint="/classify_texts") == 1
    assert sample("sieve_budget_left_seconds_count", endpoint="/classify_texts") == 1
    assert sample("sieve_part_seconds_count", part="screen") == sample("sieve_part_seconds_count", part="read") == 1


def test_items_whose_answer_was_that_to_an_equal_one_are_counted_as_all_are_and_by_themselves(metrics: Metrics) -> None:
    record = answered(None)
    kept, joined = (
        StageAnswer(answer=ANSWER, stage="expert", escalated=False, degraded=None, cached=how) for how in HOWS
    )
    record.answered(modality(), [kept, kept, joined, *record.answers])

    async def main() -> None:
        metrics.ended(record, "ok")

    asyncio.run(main())
    answers = KeptAnswers(1_000)
    answers.put(b"key", b"packed")
    metrics.watch_kept(answers)
    metrics.flush()
    assert [sample("sieve_equal_total", modality="text", how=how) for how in HOWS] == [2, 1]
    assert sample("sieve_answers_total", modality="text", stage="expert", degraded="no") == 3
    assert sample("sieve_cache_bytes") == answers.held_bytes > 0
    assert sample("sieve_cache_limit_bytes") == 1_000


def test_the_times_of_what_was_not_answered_are_not_counted(metrics: Metrics) -> None:
    async def main() -> None:
        for outcome in ("invalid", "failed", "shed", "gone"):
            metrics.ended(RequestRecord("/classify_text", "one"), outcome)

    asyncio.run(main())
    metrics.flush()
    assert sample("sieve_latency_seconds_count", endpoint="/classify_text") == 0
    nobody = {"endpoint": "/classify_text", "stage": "none", "model": "none"}
    assert sample("sieve_requests_total", outcome="shed", **nobody) == 1


def test_counts_are_flushed_by_themselves_and_as_long_as_requests_are_in_flight(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.01)
    admission = Admission(100)
    metrics.watch_admission(admission)

    async def reached(name: str, value: float) -> None:
        async with asyncio.timeout(60):
            while sample(name) != value:
                await asyncio.sleep(0.005)

    async def main() -> None:
        admission.enter("high", 0.0, 0.0)
        metrics.flush_soon()
        await reached("sieve_in_flight", 1)
        admission.leave()
        await reached("sieve_in_flight", 0)

    asyncio.run(main())
    assert sample("sieve_in_flight_limit") == 100


def test_the_breaker_and_the_queue_before_an_expert_are_gauges(metrics: Metrics) -> None:
    for state, value in (("closed", 0), ("half-open", 1), ("open", 2)):
        metrics.watch_modality(modality(waiting=value + 3, state=state))
        assert sample("sieve_breaker_state", modality="text") == value
        assert sample("sieve_escalations_waiting", modality="text") == value + 3
    info = {"modality": "text", "role": "screen", "model": "screen:1", "digest": "1" * 64}
    assert sample("sieve_model_info", variant="cpu-int8", provider="CPUExecutionProvider", device="cpu", **info) == 1
    assert sample("sieve_golden_holds", modality="text", role="screen") == 1


def test_where_a_kind_of_input_has_several_cascades_their_series_have_their_names(clean_registry: None) -> None:
    metrics, b = Metrics(several=True), {"modality": "text", "cascade": "b"}
    for place, name in enumerate("ab"):
        metrics.watch_modality(modality(waiting=place, name=name))
    metrics.promise_applies(Chosen("text", "b", 1), True)
    metrics.drift_reporter(Chosen("text", "b", 1))(Drift(n=9, psi=0.3, escalation_share=0.1, drifted=None, reasons=()))
    record = answered(None, "down")
    record.modality = modality(name="b")

    async def main() -> None:
        metrics.ended(record, "degraded")

    asyncio.run(main())
    metrics.flush()
    assert [sample("sieve_escalations_waiting", modality="text", cascade=name) for name in "ab"] == [0, 1]
    assert (sample("sieve_promise_applies", **b), sample("sieve_drift_items", **b)) == (1, 9)
    assert sample("sieve_answers_total", **b, stage="screen", degraded="down") == 1
    assert sample("sieve_golden_holds", **b, role="screen") == 1
    assert sample("sieve_answers_total", modality="text", cascade="a", stage="screen", degraded="no") == 0


def test_whether_a_promise_applies_is_a_gauge_of_its_modality(metrics: Metrics) -> None:
    for applies in (False, True):
        metrics.promise_applies(Chosen("image", "c", 0), applies)
        assert sample("sieve_promise_applies", modality="image") == applies


def test_drift_is_a_gauge_of_its_modality(metrics: Metrics) -> None:
    metrics.drift_reporter(Chosen("image", "c", 0))(
        Drift(n=10, psi=0.3, escalation_share=0.1, drifted=True, reasons=("psi",))
    )
    got = [sample(f"sieve_drift_{name}", modality="image") for name in ("psi", "escalation_share", "flag", "items")]
    assert got == [0.3, 0.1, 1, 10]


def test_an_expert_on_another_server_is_told_of_by_the_api(metrics: Metrics) -> None:
    tell = metrics.expert_reporter(Chosen("text", "a", 0))
    info = {"model": "expert:1", "digest": "2" * 64, "provider": "a-runtime", "device": ""}
    tell(True, variant="cpu-fp32", **info)
    tell(False, variant="cpu-int8", **info)
    got = [
        sample("sieve_model_info", modality="text", role="expert", variant=variant, **info)
        for variant in ("cpu-fp32", "cpu-int8")
    ]
    assert got == [0, 1]
    assert sample("sieve_golden_holds", modality="text", role="expert") == 0


def test_a_flush_that_fails_is_not_the_last_one(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.001)
    flushed: list[str] = []

    def failing_once() -> None:
        flushed.append("now")
        if len(flushed) == 1:
            raise OSError("no space left on device")

    async def main() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
        monkeypatch.setattr(metrics, "flush", failing_once)
        async with asyncio.timeout(60):
            for wanted in (1, 2):
                metrics.flush_soon()
                while len(flushed) < wanted:
                    await asyncio.sleep(0.001)
        assert [type(failure) for failure in failures] == [OSError]

    asyncio.run(main())


def test_the_processor_time_of_the_process_is_counted_from_the_first_metric_on(metrics: Metrics) -> None:
    metrics.flush()
    first, begin = sample("sieve_cpu_seconds_total"), time.process_time()
    while time.process_time() < begin + 0.01:
        pass
    metrics.flush()
    assert 0.01 <= sample("sieve_cpu_seconds_total") - first <= time.process_time(), "start-up is no load"


def test_what_is_exposed_can_be_read_by_prometheus(metrics: Metrics) -> None:
    async def main() -> None:
        metrics.shed("normal", "limit")
        metrics.ended(answered(None), "ok")
        metrics.flush()

    asyncio.run(main())
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    ours = {family.name for family in text_string_to_metric_families(body.decode()) if family.name.startswith("sieve_")}
    assert {"sieve_requests", "sieve_shed", "sieve_latency_seconds", "sieve_in_flight"} <= ours


def test_what_uploads_hold_is_reported_with_its_limit(metrics: Metrics) -> None:
    memory = MemoryLimit(1_000)
    metrics.watch_memory(memory)
    assert memory.take_body(300)
    memory.begin_work(100)
    metrics.flush()
    assert (sample("sieve_upload_bytes"), sample("sieve_upload_limit_bytes")) == (400, 1_000)


def test_requests_are_counted_together_and_none_is_counted_twice(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, labels = "sieve_requests_total", {"endpoint": "/w", "outcome": "invalid", "stage": "none", "model": "none"}

    async def main() -> None:
        for _ in range(COUNTED_TOGETHER + 1):
            metrics.ended(RequestRecord("/w", "one"), "invalid")
        metrics.flush()
        assert sample(name, **labels) == COUNTED_TOGETHER + 1
        with monkeypatch.context() as broken:
            broken.setattr(metrics, "_count", None)
            metrics.ended(RequestRecord("/w", "two"), "invalid")
            with pytest.raises(TypeError):
                metrics.flush()
        metrics.flush()
        assert sample(name, **labels) == COUNTED_TOGETHER + 1

    asyncio.run(main())


def test_requests_are_counted_by_the_name_of_their_key(metrics: Metrics) -> None:
    async def come() -> None:
        for key, outcome in (("shop", "taken"), ("shop", "taken"), ("none", "unknown")):
            metrics.came(key, outcome)

    asyncio.run(come())
    metrics.flush()
    assert sample("sieve_key_requests_total", key="shop", outcome="taken") == 2
    assert sample("sieve_key_requests_total", key="none", outcome="unknown") == 1
