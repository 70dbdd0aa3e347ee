"""The budget that a request states: in its body, in its query, in a header, or nowhere."""

from __future__ import annotations

from collections.abc import Set

from starlette.requests import Request

from serving.errors import InvalidInputError
from serving.http.body import as_number, no_others
from serving.load.budget import DEFAULT_MS, check_budget_ms

HEADER = "X-Budget-Ms"
ALONE = frozenset(("budget_ms",))


def budget_ms_of(request: Request, in_body: object, in_query: Set[str] = ALONE) -> float:
    """The smallest of the budgets that a request states; `in_body` is the unchecked one of its body, None without one.

    `in_query` are the keys that its query may have. Raises InvalidInputError for one that is no budget, and for a query
    that has others.
    """
    budget_ms = DEFAULT_MS if in_body is None else check_budget_ms(in_body)
    stated = in_body is not None
    if request.scope["query_string"]:
        of_query = _in_query(request, in_query)
        if of_query is not None:
            budget_ms = min(budget_ms, of_query) if stated else of_query
            stated = True
    header = request.headers.get("x-budget-ms")
    if header is not None:
        in_header = check_budget_ms(as_number(header, HEADER), HEADER)
        budget_ms = min(budget_ms, in_header) if stated else in_header
    return budget_ms


def _in_query(request: Request, allowed: Set[str]) -> float | None:
    query = request.query_params
    no_others(set(query), set(allowed), "query")
    values = query.getlist("budget_ms")
    if len(values) > 1:
        raise InvalidInputError(
            "budget_ms", f"must be in the query once, got it {len(values)} times; leave out all but one"
        )
    return check_budget_ms(as_number(values[0])) if values else None
