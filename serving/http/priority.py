"""Reads the priority that a request states, and decides whether it counts."""

from __future__ import annotations

import hmac
import re

from starlette.requests import Request

from serving.errors import InvalidInputError, RightMissingError, SettingsError
from serving.http.keys import SCOPE_KEY
from serving.load.admission import PRIORITIES, Priority

VARIABLE = "SIEVE_PRIORITY_HEADER"
HEADER_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[ \t]*")


class PriorityRule:
    """Gives the priority that the header `X-Priority` states: high, or normal without the header.

    `proof` is a header line, `NAME: VALUE`. With it, a request counts as high only if it also has that header with that
    value; without the header it counts as normal. An ingress adds the header for callers that it trusts, so that no
    other client can give itself priority. Where requests bring an API key, high priority is a right of the key, too.
    Raises SettingsError if `proof` is no header line.
    """

    def __init__(self, proof: str = "") -> None:
        self._proof: tuple[str, bytes] | None = None
        if proof:
            line = HEADER_LINE.fullmatch(proof)
            if line is None:
                raise SettingsError(
                    f"{VARIABLE}: must be one header line as in `X-Priority-Key: VALUE`, got something else; mend it"
                )
            self._proof = line[1].lower(), line[2].encode()

    def __call__(self, request: Request) -> Priority:
        """The priority of a request.

        Raises InvalidInputError if X-Priority has another value, and RightMissingError if its key may not have it.
        """
        return self.stated(request.headers.get("x-priority"), request, "X-Priority")

    def stated(self, sent: object, request: Request, field: str) -> Priority:
        """The same for a priority that the request's `field` states, None if it does not."""
        if sent is None or sent == "normal":
            return "normal"
        if sent == "high":
            return "high" if self._proved(request) else "normal"
        raise InvalidInputError(
            field, f"must be {' or '.join(PRIORITIES)}, got something else; leave it out for normal"
        )

    def _proved(self, request: Request) -> bool:
        key = request.scope.get(SCOPE_KEY)
        if key is not None and "high-priority" not in key.rights:
            raise RightMissingError("high-priority")
        if self._proof is None:
            return True
        name, value = self._proof
        # A comparison that stops at the first wrong byte would tell the value to a client that times it.
        return hmac.compare_digest(request.headers.get(name, "").encode(), value)
