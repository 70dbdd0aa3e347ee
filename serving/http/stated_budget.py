"""The budget that a request states: in its body, in its query, in a header, or nowhere."""

from __future__ import annotations

from starlette.requests import Request

from serving.errors import InvalidInputError
from serving.http.body import as_number, no_others
from serving.load.budget import DEFAULT_MS, check_budget_ms

HEADER = "X-Budget-Ms"


def budget_ms_of(request: Request, in_body: object) -> float:
    """The smallest of the budgets that a request states; `in_body` is the unchecked one of its body, None without one.

    Raises InvalidInputError for one that is no budget, and for a query that is not read.
    """
    budget_ms = DEFAULT_MS if in_body is None else check_budget_ms(in_body)
    stated = in_body is not None
    if request.scope["query_string"]:
        in_query = _in_query(request)
        if in_query is not None:
            budget_ms = min(budget_ms, in_query) if stated else in_query
            stated = True
    header = request.headers.get("x-budget-ms")
    if header is not None:
        in_header = check_budget_ms(as_number(header, HEADER), HEADER)
        budget_ms = min(budget_ms, in_header) if stated else in_header
    return budget_ms


def _in_query(request: Request) -> float | None:
    query = request.query_params
    no_others(set(query), {"budget_ms"}, "query")
    values = query.getlist("budget_ms")
    if len(values) > 1:
        raise InvalidInputError(
            "budget_ms", f"must be in the query once, got it {len(values)} times; leave out all but one"
        )
    return check_budget_ms(as_number(values[0])) if values else None
