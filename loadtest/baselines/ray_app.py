"""Ray Serve around one model, in one replica with its own dynamic batching; needs the package `ray[serve]`.

    python -m loadtest.baselines.ray_app PORT

The variable BASELINE holds the model as JSON (see `model.Baseline`). Texts only. It ends with ctrl-C, and takes Ray's
other processes with it.
"""

import json
import os
import signal
import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from loadtest.baselines.model import BATCH_WINDOW_MS, MAX_BATCH_SIZE, Answer, Model


# A core for the replica would leave none for Ray's proxy on a small machine; it says nothing of threads.
@serve.deployment(ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=1_000)
class Classify:
    """Tokeniser and model in the replica's process."""

    def __init__(self, settings: Any) -> None:
        self.model = Model(settings)

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=BATCH_WINDOW_MS / 1e3)
    async def classify(self, texts: list[str]) -> list[Answer]:
        """The answers to a batch of texts."""
        return self.model.classify_all(texts)

    # Ray reads the annotations, so this file has no `from __future__ import annotations`.
    async def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        answer: Answer = await self.classify((await request.json())["text"])
        return answer


if __name__ == "__main__":
    ray.init(include_dashboard=False, configure_logging=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
        application = Classify.bind(json.loads(os.environ["BASELINE"]))  # type: ignore[attr-defined]  # Ray adds `bind`
        serve.run(application, route_prefix="/classify_text")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        ray.shutdown()
