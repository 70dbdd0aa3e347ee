"""Triton around one model, with its dynamic batcher, by NVIDIA's pytriton; needs the package `nvidia-pytriton`.

    python -m loadtest.baselines.triton_app PORT

The variable BASELINE holds the model as JSON (see `model.Baseline`). Texts only, over the Open Inference Protocol: the
model is called `text`, takes the input `text`, and gives `label` and `confidence`. The package has no backend for ONNX
Runtime: Triton batches, and its backend for Python hands each batch to this process.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from loadtest.baselines.model import BATCH_WINDOW_MS, MAX_BATCH_SIZE, Model

NAME = "text"


def free_port() -> int:
    """A port that no process has now, for what is not asked here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(port: int, model: Model) -> None:
    """Serve the model until ctrl-C."""

    @batch  # type: ignore[untyped-decorator]  # pytriton is not installed where types are checked
    def classify(text: Any) -> dict[str, Any]:
        """The answers to a batch, texts object [items, 1]."""
        answers = model.classify_all([item.decode() for item in text[:, 0].tolist()])
        return {
            "label": np.array([[answer["label"].encode()] for answer in answers], dtype=object),
            "confidence": np.array([[answer["confidence"]] for answer in answers], dtype=np.float32),
        }

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        grpc_address="127.0.0.1",
        grpc_port=free_port(),
        metrics_port=free_port(),
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name=NAME,
            infer_func=classify,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="label", dtype=bytes, shape=(1,)),
                Tensor(name="confidence", dtype=np.float32, shape=(1,)),
            ],
            config=ModelConfig(
                max_batch_size=MAX_BATCH_SIZE,
                batcher=DynamicBatcher(max_queue_delay_microseconds=1_000 * BATCH_WINDOW_MS),
            ),
        )
        triton.serve()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Model(json.loads(os.environ["BASELINE"])))
