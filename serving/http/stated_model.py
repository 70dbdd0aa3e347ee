"""The cascade that a request states: in its body, in its query, or nowhere."""

from __future__ import annotations

from starlette.requests import Request

from serving.errors import InvalidInputError, kind_of

IN_QUERY = frozenset(("budget_ms", "model"))
"""The keys of a query, where there may be several cascades."""


def model_of(request: Request, in_body: object = None) -> str | None:
    """The name of the cascade that a request states; `in_body` is the unchecked one of its body, None without one.

    Raises InvalidInputError for one that is no name, and for two names.
    """
    if in_body is None and not request.scope["query_string"]:
        return None
    if not isinstance(in_body, str | None):
        raise InvalidInputError(
            "model", f"must be the name of a cascade, got {kind_of(in_body)}; send one, or leave it out"
        )
    stated = {in_body, *request.query_params.getlist("model")} - {None}
    if len(stated) > 1:
        raise InvalidInputError(
            "model",
            f"must be one name, in the body and in the query the same, got {len(stated)}; leave out all but one",
        )
    return next(iter(stated), None)
