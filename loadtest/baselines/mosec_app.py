"""mosec around one model, with its own dynamic batching; needs the package `mosec`.

    python -m loadtest.baselines.mosec_app --address 127.0.0.1 --port PORT

The variable BASELINE holds the model as JSON (see `model.Baseline`). Texts only. mosec reads the options itself.
"""

from __future__ import annotations

import json
import os
from typing import Any

from mosec import Server, Worker

from loadtest.baselines.model import BATCH_WINDOW_MS, MAX_BATCH_SIZE, Answer, Model


class Classify(Worker):  # type: ignore[misc]  # mosec is not installed where types are checked
    """Tokeniser and model in one worker process, which also reads and writes the JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(json.loads(os.environ["BASELINE"]))

    def forward(self, data: list[dict[str, Any]]) -> list[Answer]:
        """The answers to a batch of requests."""
        return self.model.classify_all([request["text"] for request in data])


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classify, max_batch_size=MAX_BATCH_SIZE, max_wait_time=BATCH_WINDOW_MS, route="/classify_text")
    server.run()
