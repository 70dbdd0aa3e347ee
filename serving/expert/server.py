"""What another server must do to run an expert, whichever way it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from serving.arrays import Array, Logits
from serving.errors import StageDownError
from serving.expert.graph_form import Metadata

DATATYPES = {np.dtype(np.int64): "INT64", np.dtype(np.float32): "FP32"}


class NotThereError(StageDownError):
    """The server has no such model or version."""


class Server(Protocol):
    """One model on a server of the Open Inference Protocol.

    All calls raise ConnectionError where the connection breaks, another OSError where nobody can be reached, a
    StageError where the server gives no answer, and MalformedError where the answer is not of the protocol.
    """

    async def metadata(self, version: str) -> Metadata:
        """What the server says of a version of the model, of its own choice if it is empty."""

    async def infer(self, version: str, inputs: Mapping[str, Array], traceparent: str | None, left_ms: float) -> Logits:
        """The output logits for these inputs.

        `traceparent` (W3C) goes along, and where it is not infinite `left_ms`, how long anybody waits. When the call is
        cancelled, the server is told that nobody waits.
        """

    def close_idle(self) -> None:
        """Use no connection again that was there before, as far as connections are closed by hand."""

    async def close(self) -> None:
        """Close what is open. Calls may follow."""
