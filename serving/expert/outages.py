"""What the log says of an expert that stops to answer: once for each outage, since under load it would fill the log."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType

from serving.errors import MalformedError, StageDownError, StageError, StageLateError, StageRefusedError

logger = logging.getLogger("sieve")


class Outages:
    """A context around each call to the expert that the log calls `tag`. Calls may overlap.

    What fails in it counts as an outage, and leaves it as StageDownError; StageRefusedError and StageLateError pass. A
    call that is cancelled, by its caller's limit of time, counts too.
    """

    def __init__(self, tag: str) -> None:
        self._tag, self._up = tag, True

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is None:
            if not self._up:
                logger.warning("%s answers again", self._tag)
            self._up = True
        elif isinstance(error, asyncio.CancelledError | StageLateError):
            self._is_down("no answer in time")
        elif isinstance(error, StageError | OSError | MalformedError) and not isinstance(error, StageRefusedError):
            self._is_down(repr(error))
            raise StageDownError(f"{type(error).__name__}: {error}") from None

    def _is_down(self, reason: str) -> None:
        if self._up:
            logger.warning("%s does not answer, its screen answers alone: %s", self._tag, reason)
        self._up = False
