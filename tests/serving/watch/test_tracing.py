"""What OpenTelemetry's variables say, and which requests and calls are exported."""

from __future__ import annotations

from typing import Any

import pytest

from serving.trace import begin_call
from serving.watch.record import RequestRecord
from serving.watch.tracing import Tracer, TracingError, TracingSettings, tracing_settings

WHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("variables", "share"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({**WHERE, "OTEL_TRACES_EXPORTER": "none"}, None),
        (WHERE, 1.0),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector/v1/traces"}, 1.0),
        ({**WHERE, "OTEL_TRACES_SAMPLER_ARG": "0.1"}, 0.1),
        ({**WHERE, "OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, 0.0),
    ],
)
def test_tracing_is_on_when_a_collector_is_named(variables: dict[str, str], share: float | None) -> None:
    settings = tracing_settings(variables)
    assert (settings.share if settings else None) == share


@pytest.mark.parametrize("stated", ["much", "1.5", "-0.1", "nan"])
def test_an_invalid_share_is_refused(stated: str) -> None:
    with pytest.raises(TracingError, match="OTEL_TRACES_SAMPLER_ARG must be a share from 0 to 1"):
        tracing_settings({**WHERE, "OTEL_TRACES_SAMPLER_ARG": stated})


class Exporter:
    """Keeps the names, ids and errors of the spans that it is given."""

    def __init__(self, _service: str) -> None:
        self.spans: list[dict[str, Any]] = []

    def span(self, name: str, trace_id: int, span_id: int, parent_id: int | None, *times: Any, **more: Any) -> None:
        begin_s, end_s = times[:2]
        self.spans.append(
            {
                "name": name,
                "trace": trace_id,
                "parent": parent_id,
                "lasted_s": end_s - begin_s,
                "error": more.get("error"),
            }
        )


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Tracer:
    """A tracer that draws no request, so that only the slow, degraded and failed are exported."""
    monkeypatch.setattr("serving.watch.spans.Exporter", Exporter)
    return Tracer(TracingSettings(0.0), "tests")


def exported(tracer: Tracer) -> list[dict[str, Any]]:
    return tracer._export.__self__.spans  # type: ignore[attr-defined]  # a method of the Exporter above


def traced(tracer: Tracer) -> RequestRecord:
    return RequestRecord("/classify_text", "an-id", tracer.begin(None))


def test_a_request_that_is_fast_and_whole_is_not_exported(tracer: Tracer) -> None:
    tracer.ended(traced(tracer), "ok", 200)
    assert exported(tracer) == []


def test_a_sampled_request_is_exported_with_a_span_for_each_part(tracer: Tracer) -> None:
    record = RequestRecord("/classify_text", "an-id", tracer.begin("00-" + "1" * 32 + "-" + "2" * 16 + "-01"))
    for part in ("admission", "screen"):
        record.timings.end(part)
    record.timings.split("hop", {"queue": 0.0, "expert": 0.0})
    tracer.ended(record, "ok", 200)
    root, *parts = exported(tracer)
    assert (root["name"], root["parent"]) == ("POST /classify_text", int("2" * 16, 16))
    assert [part["name"] for part in parts] == ["admission", "screen", "queue", "expert"]
    assert sum(part["lasted_s"] for part in parts) == pytest.approx(root["lasted_s"])
    assert {span["trace"] for span in exported(tracer)} == {int("1" * 32, 16)}


@pytest.mark.parametrize("answered_first", [False, True])
def test_a_call_is_exported_once_and_in_the_first_exported_trace_of_its_requests(
    tracer: Tracer, answered_first: bool
) -> None:
    fast, degraded, failed = (traced(tracer) for _ in range(3))
    span = begin_call([fast.trace, degraded.trace, failed.trace], 3, 10.0)
    assert span is not None
    assert span.traceparent is None, "none of its requests was drawn"

    def end_call() -> None:
        span.end_s, span.error = 10.5, "down"
        tracer.call_ended(span)

    if not answered_first:
        end_call()
    tracer.ended(fast, "ok", 200)
    tracer.ended(degraded, "degraded", 200)
    tracer.ended(failed, "failed", 500)
    if answered_first:
        end_call()
    (call,) = [exported_span for exported_span in exported(tracer) if exported_span["name"] == "batch"]
    assert degraded.trace is not None
    assert (call["trace"], call["parent"]) == (degraded.trace.trace_id, degraded.trace.span_id)
    assert (call["lasted_s"], call["error"]) == (0.5, "down")


def test_the_run_of_an_expert_is_exported_where_its_caller_is(tracer: Tracer) -> None:
    for flag in ("00", "01"):
        tracer.ran("00-" + "1" * 32 + "-" + "2" * 16 + "-" + flag, 1.0, 1.25, 4)
    tracer.ran("nonsense", 1.0, 1.25, 4)
    (run,) = exported(tracer)
    assert (run["name"], run["lasted_s"], run["parent"]) == ("run", 0.25, int("2" * 16, 16))
