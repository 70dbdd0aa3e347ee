"""LitServe around one model, with its own dynamic batching. Runs where the package `litserve` is installed.

    python -m loadtest.baselines.litserve_app PORT

The model comes in the variable BASELINE; see `model`. Texts only: LitServe hands over the JSON of a request.
"""

import json
import os
import sys
from typing import Any

import litserve

from loadtest.baselines.model import Array, Model

MAX_BATCH_SIZE = 32
BATCH_TIMEOUT_S = 0.002
"""For how long a batch waits to be filled; with 0 its worker would ask an empty queue without a pause."""


class Api(litserve.LitAPI):  # type: ignore[misc]
    """What LitServe calls, in its worker's process."""

    def setup(self, device: str) -> None:
        self.model = Model(json.loads(os.environ["BASELINE"]))

    def decode_request(self, request: dict[str, Any]) -> Array:  # LitServe reads this annotation: no future import
        return self.model.prepare(request["text"])

    def batch(self, inputs: list[Array]) -> list[Array]:
        return inputs

    def predict(self, x: list[Array]) -> Array:
        return self.model.logits(x)

    def unbatch(self, output: Array) -> list[Array]:
        return list(output)

    def encode_response(self, output: Array) -> dict[str, Any]:
        return self.model.answer(output)


if __name__ == "__main__":
    api = Api(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S, api_path="/classify_text")
    server = litserve.LitServer(api, accelerator="cpu", devices=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
