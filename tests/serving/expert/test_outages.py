"""An outage is logged once, and so is its end; what fails leaves the context as an error of a stage."""

from __future__ import annotations

import asyncio
import logging

import pytest

from serving.errors import MalformedError, StageDownError, StageLateError, StageRefusedError
from serving.expert.outages import Outages


@pytest.mark.parametrize(
    ("error", "leaves", "counts"),
    [
        (ConnectionResetError("gone"), StageDownError, True),
        (TimeoutError(), StageDownError, True),
        (StageDownError("broken"), StageDownError, True),
        (MalformedError("reply", "must be a reply"), StageDownError, True),
        (StageLateError("late"), StageLateError, True),
        (asyncio.CancelledError(), asyncio.CancelledError, True),
        (StageRefusedError("full"), StageRefusedError, False),
        (RuntimeError("a bug"), RuntimeError, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_it_tells_of_an_outage_once_and_of_its_end(
    error: BaseException, leaves: type[BaseException], counts: bool, logged: list[logging.LogRecord]
) -> None:
    outages = Outages("an-expert")
    for _ in range(3):
        with pytest.raises(leaves), outages:
            raise error
    for _ in range(2):
        with outages:
            pass
    said = [record.getMessage() for record in logged]
    if not counts:
        assert said == []
        return
    first, second = said
    assert first.startswith("an-expert does not answer, its screen answers alone: ")
    assert second == "an-expert answers again"
