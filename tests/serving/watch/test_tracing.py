"""What OpenTelemetry's variables and headers say, and how a share is drawn."""

from __future__ import annotations

import pytest

from serving.watch.tracing import TracingError, begin, call_of, read_traceparent, tracing_settings

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
def test_tracing_is_on_where_a_place_is_named(variables: dict[str, str], share: float | None) -> None:
    settings = tracing_settings(variables)
    assert (settings.share if settings else None) == share


@pytest.mark.parametrize("stated", ["much", "1.5", "-0.1", "nan"])
def test_a_share_that_is_none_is_refused(stated: str) -> None:
    with pytest.raises(TracingError, match="OTEL_TRACES_SAMPLER_ARG must be a share from 0 to 1"):
        tracing_settings({**WHERE, "OTEL_TRACES_SAMPLER_ARG": stated})


@pytest.mark.parametrize(
    ("header", "got"),
    [
        (None, None),
        ("", None),
        ("00-" + "0" * 32 + "-" + "1" * 16 + "-01", None),
        ("00-" + "1" * 32 + "-" + "0" * 16 + "-01", None),
        ("ff-" + "1" * 32 + "-" + "1" * 16 + "-01", None),
        ("00-" + "G" * 32 + "-" + "1" * 16 + "-01", None),
        ("00-" + "1" * 32 + "-" + "2" * 16 + "-01", (int("1" * 32, 16), int("2" * 16, 16), True)),
        ("00-" + "1" * 32 + "-" + "2" * 16 + "-00", (int("1" * 32, 16), int("2" * 16, 16), False)),
        ("cc-" + "1" * 32 + "-" + "2" * 16 + "-01-later", (int("1" * 32, 16), int("2" * 16, 16), True)),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(header: str | None, got: tuple[int, int, bool] | None) -> None:
    assert read_traceparent(header) == got


def test_so_many_are_drawn_as_the_share_says() -> None:
    drawn = sum(begin(None, None, 0.3).sampled for _ in range(20_000)) / 20_000
    assert abs(drawn - 0.3) < 0.02
    assert not any(begin(None, None, 0.0).sampled for _ in range(1000))
    assert all(begin(None, None, 1.0).sampled for _ in range(1000))


def test_a_call_for_requests_without_a_tracer_is_not_traced() -> None:
    assert call_of([None, begin(None, None, 1.0)], 2, 0.0) is None
