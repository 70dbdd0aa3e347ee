"""MLServer around one model, with its own adaptive batching and one worker process; needs the package `mlserver`.

    python -m loadtest.baselines.mlserver_app PORT

The variable BASELINE holds the model as JSON (see `model.Baseline`). Texts only, over the Open Inference Protocol: the
model is called `text`, takes the input `text`, and gives `label` and `confidence`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from loadtest.baselines.model import BATCH_WINDOW_MS, MAX_BATCH_SIZE, Model

NAME = "text"


class TextModel(MLModel):  # type: ignore[misc]  # mlserver is not installed where types are checked
    """Tokeniser and model in MLServer's worker process."""

    async def load(self) -> bool:
        """Open the graph and the tokeniser."""
        self._model = Model(json.loads(os.environ["BASELINE"]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The answers to the texts of a request, which MLServer put together from several ones."""
        answers = self._model.classify_all(StringCodec.decode_input(payload.inputs[0]))
        confidences = np.array([[answer["confidence"]] for answer in answers], dtype=np.float32)
        outputs = [
            StringCodec.encode_output("label", [answer["label"] for answer in answers]),
            NumpyCodec.encode_output("confidence", confidences),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def free_port() -> int:
    """A port that no process has now, for what is not asked here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def serve(port: int) -> None:
    """Serve the model until ctrl-C."""
    settings = Settings(host="127.0.0.1", http_port=port, grpc_port=free_port(), metrics_port=free_port(), debug=False)
    model = ModelSettings(
        name=NAME,
        implementation="loadtest.baselines.mlserver_app.TextModel",
        max_batch_size=MAX_BATCH_SIZE,
        max_batch_time=BATCH_WINDOW_MS / 1e3,
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
