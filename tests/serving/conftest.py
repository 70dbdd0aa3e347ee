"""Shared by the tests of serving."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from serving.watch.metrics import Metrics


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Metrics that a test declares are gone after it, so that another test can declare them too."""
    before = set(REGISTRY._collector_to_names)
    yield
    for collector in set(REGISTRY._collector_to_names) - before:
        REGISTRY.unregister(collector)


@pytest.fixture
def metrics(clean_registry: None) -> Metrics:
    """The metrics of an API process that shares them with no other."""
    return Metrics()


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What the service logs during a test; pytest's own capture is off."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]  # a handler of one line
    logger = logging.getLogger("sieve")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def sample(name: str, **labels: str) -> float:
    """A sample as a scrape would read it; 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
