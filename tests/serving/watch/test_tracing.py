"""What OpenTelemetry's variables say."""

from __future__ import annotations

import pytest

from serving.watch.tracing import TracingError, tracing_settings

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
