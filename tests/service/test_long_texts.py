"""Long texts over HTTP: what a tokeniser deletes hides nothing, and a text that is cut says so."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import messages
from tests.server import PATIENT_MS, in_full

TEXTS = [text for text, _ in messages(4, seed=9)]


def answer(client: httpx.Client, text: str) -> dict[str, Any]:
    body: dict[str, Any] = in_full(client, "/classify_text", json={"text": text, "budget_ms": PATIENT_MS}).json()
    return body


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_behind_characters_that_the_tokeniser_deletes_has_its_own_answer(
    client: httpx.Client, text: str
) -> None:
    plain, hidden = answer(client, text), answer(client, "\u200b" * 10_000 + text)
    assert hidden["scores"] == pytest.approx(plain["scores"], abs=1e-6)
    assert (plain["truncated"], hidden["truncated"]) == (False, False)


def test_a_text_that_is_cut_says_so_in_its_place(client: httpx.Client) -> None:
    long = f"{TEXTS[0]} and so on" + " and so on" * 100
    assert answer(client, long)["truncated"]
    body = in_full(client, "/classify_texts", json={"texts": [TEXTS[1], long], "budget_ms": PATIENT_MS}).json()
    assert [each["truncated"] for each in body["answers"]] == [False, True]
