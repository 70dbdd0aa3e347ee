"""The error tree. Everything that `serving` and `optimize` raise on purpose is one of these.

SieveError                  the user can correct it; the text names the rule, the kind of the value and the remedy
├── InvalidInputError       a request breaks a rule of the API (HTTP 422)
│   ├── TooLargeError       the body of a request has too many bytes (HTTP 413)
│   └── MalformedError      a request cannot be read at all (HTTP 400)
│       ├── WrongTypeError  its body is of a content type or an encoding that is not read (HTTP 415)
│       └── TooSlowError    the body of a request did not arrive in time (HTTP 408)
├── FailedItemError         both models failed on an item (HTTP 500)
├── OverloadedError         too many requests are in flight (HTTP 503)
├── NotServedError          the service was started without the cascade that a request needs (HTTP 404)
├── NotRememberedError      the answer that feedback is about is not remembered (HTTP 404)
├── AlreadyToldError        another label was told for an answer before (HTTP 409)
├── KeyMissingError         a request lacks the key that its address needs, or has another one (HTTP 401)
├── RightMissingError       the key of a request lacks the right that it needs (HTTP 403)
├── TooOftenError           a key or an address sends more requests a second than it may (HTTP 429)
├── SwitchRefusedError      a version of a cascade cannot be served; the one before goes on (HTTP 409)
├── ArtifactError           an artifact folder is missing, damaged or does not match its manifest
├── SettingsError           a settings file or variable cannot be read or breaks a rule
├── ProviderError           a variant does not run on an execution provider
└── StageError              a stage gave no answer; its `reason` is the answer's `degraded`
    ├── StageLateError      the deadline passed first
    ├── StageRefusedError   the stage refused the call because of load
    ├── StageDownError      the stage cannot be reached, or failed
    └── CallerGoneError     the client closed its connection
"""

from __future__ import annotations

from typing import Literal

ShedReason = Literal["limit", "reserved", "deadline", "memory", "reading"]
"""Why a request is refused: too many are in flight, the rest is kept for high priority, it would be late, uploads take
all their memory, or too many bodies arrive at once."""


class SieveError(Exception):
    """Base of all errors that are raised on purpose. Users read the text."""


class InvalidInputError(SieveError):
    """A request breaks a rule of the API.

    `field` is the name of the request's field. The text never holds the value, only its kind.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class TooLargeError(InvalidInputError):
    """The body of a request has too many bytes."""


class MalformedError(InvalidInputError):
    """A request cannot be read at all: not UTF-8, not JSON, not a form."""


class WrongTypeError(MalformedError):
    """The body of a request is of a content type or an encoding that is not read."""


class TooSlowError(MalformedError):
    """The body of a request did not arrive in time."""


class FailedItemError(SieveError):
    """Both models failed on an item. `field` is its name in the request."""

    reason = "failed"

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field}: must be an input that a model can take, got one on which both failed; send another, or tell the "
            "operator, whose log has the cause"
        )
        self.field = field


class OverloadedError(SieveError):
    """Too many requests are in flight. The client should try again later.

    `reason`: as what `serving.http.guard` counts it; None if it is counted already.
    """

    def __init__(self, message: str, reason: ShedReason | None = None) -> None:
        super().__init__(message)
        self.reason: ShedReason | None = reason


class NotServedError(SieveError):
    """The service was started without the cascade that a request needs."""


class NotRememberedError(SieveError):
    """The answer that feedback is about is not remembered, here or by a process beside this one."""


class AlreadyToldError(SieveError):
    """Another label was told for an answer before."""


class KeyMissingError(SieveError):
    """A request lacks the key that its address needs, or has another one."""


class RightMissingError(SieveError):
    """The key of a request lacks the `right` that it needs."""

    def __init__(self, right: str) -> None:
        super().__init__(
            f"this needs a key with the right {right}, got a key without it; ask whoever keeps the keys for the right"
        )
        self.right = right


class TooOftenError(SieveError):
    """A key or an address sends more requests a second than it may. It may come back in `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SwitchRefusedError(SieveError):
    """A version of a cascade cannot be served. The one that is served goes on."""


class ArtifactError(SieveError):
    """An artifact folder is missing, damaged, or does not match its manifest."""


class SettingsError(SieveError):
    """A settings file cannot be read, or a value in it or in a variable breaks a rule."""


class ProviderError(SieveError):
    """A variant does not run on an execution provider (INT8 on CUDA, fp16 on the CPU, CUDA without a GPU)."""


class StageError(SieveError):
    """A stage gave no answer. `reason` is the value of `degraded` in the client's answer."""

    reason = "failed"


class StageLateError(StageError):
    """The deadline passed before the stage answered."""

    reason = "deadline"


class StageRefusedError(StageError):
    """The stage refused the call because of load."""

    reason = "shed"


class StageDownError(StageError):
    """The stage cannot be reached, or failed."""

    reason = "down"


class CallerGoneError(StageError):
    """The client closed its connection. Nobody reads its `degraded`, but it is counted."""

    reason = "gone"


KINDS: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def kind_of(value: object) -> str:
    """The kind of a JSON value, in words; never the value itself."""
    return KINDS.get(type(value), f"a {type(value).__name__}")
