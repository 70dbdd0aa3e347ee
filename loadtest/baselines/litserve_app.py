"""LitServe around one model, with its own dynamic batching; needs the package `litserve`.

    python -m loadtest.baselines.litserve_app PORT

The variable BASELINE holds the model as JSON (see `model.Baseline`). Texts only, because LitServe reads requests as
JSON.
"""

import json
import os
import sys
from typing import Any

import litserve

from loadtest.baselines.model import BATCH_WINDOW_MS, MAX_BATCH_SIZE, Floats, Ids, Model


class Api(litserve.LitAPI):  # type: ignore[misc]  # litserve has no type information
    """The model in LitServe's worker process."""

    def setup(self, device: str) -> None:
        self.model = Model(json.loads(os.environ["BASELINE"]))

    # LitServe reads the annotations, so this file has no `from __future__ import annotations`.
    def decode_request(self, request: dict[str, Any]) -> Ids | Floats:
        return self.model.prepare(request["text"])

    def batch(self, inputs: list[Ids | Floats]) -> list[Ids | Floats]:
        return inputs

    def predict(self, x: list[Ids | Floats]) -> Floats:
        return self.model.logits(x)

    def unbatch(self, output: Floats) -> list[Floats]:
        return list(output)

    def encode_response(self, output: Floats) -> dict[str, Any]:
        return dict(self.model.answer(output))


if __name__ == "__main__":
    # Without a batch window the worker would poll an empty queue without a pause.
    api = Api(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_WINDOW_MS / 1e3, api_path="/classify_text")
    server = litserve.LitServer(api, accelerator="cpu", devices=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
