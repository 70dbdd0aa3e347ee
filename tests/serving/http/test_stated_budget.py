"""The budget of a request, wherever it is stated."""

from __future__ import annotations

import pytest

from serving.errors import InvalidInputError
from serving.http.stated_budget import budget_ms_of
from serving.load.budget import DEFAULT_MS
from tests.serving.asgi import request_of


@pytest.mark.parametrize(
    ("in_body", "query", "header", "applies"),
    [
        (None, "", None, DEFAULT_MS),
        (70, "", None, 70),
        (None, "budget_ms=70", None, 70),
        (None, "", "70", 70),
        (70, "budget_ms=60", None, 60),
        (60, "budget_ms=70", "80", 60),
        (None, "budget_ms=900", "800", 800),
        (900, "budget_ms=7.5", "800", 7.5),
    ],
)
def test_the_smallest_of_those_that_are_stated_applies(
    in_body: object, query: str, header: str | None, applies: float
) -> None:
    request = request_of(headers={} if header is None else {"X-Budget-Ms": header}, query=query)
    assert budget_ms_of(request, in_body) == applies


@pytest.mark.parametrize(
    ("in_body", "query", "headers", "says"),
    [
        ("5", "", {}, "budget_ms: must be a positive number of milliseconds, at most 1,000, got a string"),
        (0, "budget_ms=5", {"X-Budget-Ms": "5"}, "budget_ms: must be a positive number"),
        (5, "budget_ms=soon", {}, "budget_ms: must be a positive number of milliseconds, got text that is no number"),
        (5, "budget_ms=", {}, "budget_ms: must be a positive number"),
        (5, "budget_ms=1001", {}, "budget_ms: must be .* at most 1,000, got a larger number"),
        (5, "budget_ms=5&budget_ms=5", {}, "budget_ms: must be in the query once, got it 2 times"),
        (5, "budget=5", {}, "query: may have the keys budget_ms, got 'budget' too"),
        (5, "budget_ms=5&priority=high", {}, "query: may have the keys budget_ms, got 'priority' too"),
        (5, "a", {}, "query: may have the keys budget_ms"),
        (5, "", {"X-Budget-Ms": "soon"}, "X-Budget-Ms: must be a positive number"),
        (5, "", {"X-Budget-Ms": "nan"}, "X-Budget-Ms: must be a positive number"),
    ],
)
def test_what_is_no_budget_is_refused_wherever_it_stands(
    in_body: object, query: str, headers: dict[str, str], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        budget_ms_of(request_of(headers=headers, query=query), in_body)
