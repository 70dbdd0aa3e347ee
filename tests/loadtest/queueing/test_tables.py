"""The tables of a service, measured by HTTP alone."""

from __future__ import annotations

import json
import os

import pytest

from loadtest.errors import UnreachableError
from loadtest.queueing import tables
from loadtest.queueing.tables import BATCH_SIZES, measure
from loadtest.traffic.plan import Plan
from loadtest.traffic.sample import LONG_CHARACTERS
from loadtest.traffic.workload import PLAIN_TEXTS, Mix
from tests.loadtest.little_server import Sent, little_server, ok

ALONE = "read;dur=0.25, screen;dur=0.5, total;dur=1"


@pytest.fixture(autouse=True)
def short_saturation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SATURATION_S", 0.3)


def cascade(body: bytes) -> Sent:
    """Long texts escalate; a batch takes the expert 4 ms and 1 ms for each text."""
    asked = json.loads(body)
    if "texts" in asked:
        return *ok(stage="expert"), f"{ALONE}, expert;dur={4 + len(asked['texts'])}, hop;dur=2"
    if len(asked["text"]) < LONG_CHARACTERS:
        return *ok(), ALONE
    return *ok(stage="expert"), f"{ALONE}, expert;dur=5, hop;dur=2"


def test_the_parts_of_a_cascade_go_into_its_tables() -> None:
    with little_server(cascade) as url:
        found = measure(Plan(url=url, mix=Mix(hard_share=0.25)), workers=1)
    assert found.escalation_share == pytest.approx(0.25, abs=0.03)
    assert {item.expert_ms for item in found.tables.items} == {None, 5.0}
    assert min(item.api_ms for item in found.tables.items) >= 0.75
    assert found.tables.batch_ms == {size: 4.0 + size for size in BATCH_SIZES}
    assert found.tables.hop_ms == 2.0
    assert found.tables.cores == os.cpu_count()
    assert found.tables.generator_ms > 0


def test_a_service_without_an_expert_has_no_batches() -> None:
    with little_server(lambda _: ok()) as url:
        found = measure(Plan(url=url), workers=1)
    assert found.escalation_share == 0
    assert found.tables.batch_ms == {1: 1.0, 32: 32.0}
    assert found.tables.hop_ms == 0.0


def test_a_request_without_an_answer_is_told() -> None:
    def some(body: bytes) -> Sent:
        return (500, b"{}") if PLAIN_TEXTS[0].encode() in body else ok()

    with little_server(some) as url, pytest.raises(UnreachableError, match="got none for some; look at its log"):
        measure(Plan(url=url), workers=1)
