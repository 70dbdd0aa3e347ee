"""The error tree. Everything that `serving` and `optimize` raise on purpose is one of these.

SieveError                  what the user can put right; its text names the rule, the value's kind and the remedy
├── InvalidInputError       a request breaks a rule of the API (HTTP 422)
│   └── MalformedError      a request that cannot be read at all (HTTP 400)
│       └── TooSlowError    a request whose body did not arrive in time (HTTP 408)
├── OverloadedError         a request more than can be in flight (HTTP 503)
├── NotServedError          a request for something that this service was started without (HTTP 404)
├── ArtifactError           an artifact folder is missing, damaged or does not fit its manifest
├── SettingsError           a settings file that cannot be read or breaks a rule
├── ProviderError           a variant and an execution provider that do not go together
└── StageError              a stage gave no answer; its `reason` goes out as `degraded`
    ├── StageLateError      the deadline came first
    ├── StageRefusedError   the stage refused the call because of load
    ├── StageDownError      the stage is not there, or failed
    └── CallerGoneError     nobody waits for the answer any more
"""

from __future__ import annotations


class SieveError(Exception):
    """Base of all errors that are raised on purpose; the text is meant for a user's eyes."""


class InvalidInputError(SieveError):
    """A request breaks a rule of the API.

    `field` is the name of the request's field; the text names the rule and the kind of the value received.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class MalformedError(InvalidInputError):
    """A request cannot be read at all: not UTF-8, not JSON, not a form."""


class TooSlowError(MalformedError):
    """The body of a request did not arrive in time."""


class OverloadedError(SieveError):
    """A request beyond what can be in flight now; the client should come back after a while."""


class NotServedError(SieveError):
    """A request for a modality that this service was started without."""


class ArtifactError(SieveError):
    """An artifact folder is missing, damaged, or is not what its manifest says."""


class SettingsError(SieveError):
    """A settings file cannot be read, or a value in it breaks a rule."""


class ProviderError(SieveError):
    """A precision was asked for on an execution provider where it is wrong (INT8 on CUDA, fp16 on the CPU)."""


class StageError(SieveError):
    """A stage gave no answer. `reason` is the word that the client reads in `degraded`."""

    reason = "failed"


class StageLateError(StageError):
    """The deadline came before the stage's answer."""

    reason = "deadline"


class StageRefusedError(StageError):
    """The stage refused the call because of load."""

    reason = "shed"


class StageDownError(StageError):
    """The stage cannot be reached, or failed."""

    reason = "down"


class CallerGoneError(StageError):
    """The client closed its connection; what goes out as `degraded` reaches nobody, and is counted."""

    reason = "gone"


def kind_of(value: object) -> str:
    """The kind of a JSON value, in words; never the value itself."""
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    names |= {list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
