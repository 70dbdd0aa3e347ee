"""Patience of a client of the Open Inference Protocol with a service that is busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tritonclient.utils import InferenceServerException

from tests.server import LIMIT_S, pauses

SHED = {"503", "StatusCode.RESOURCE_EXHAUSTED"}


def in_full_by(ask: Callable[[], Any], output: str = "degraded") -> Any:
    """What `ask` returns, which is repeated until it is neither shed nor degraded in any item."""
    end_s, pause = time.monotonic() + LIMIT_S, pauses()
    while True:
        try:
            result = ask()
            degraded = result.as_numpy(output)
            if degraded is None or not degraded.any():
                return result
        except InferenceServerException as error:
            if error.status() not in SHED:
                raise
        assert time.monotonic() < end_s
        time.sleep(next(pause))
