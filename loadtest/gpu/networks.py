"""The two models that are measured, with random weights: speed does not depend on what they have learned."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.errors import MissingError

Inputs = dict[str, np.ndarray[Any, Any]]
IR_VERSION = 10  # ONNX Runtime 1.31 reads up to 13, and onnx 1.23 writes 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A model in PyTorch (fp32, on the CPU) and its ONNX graph. `flops`: of one item; `limit_ms`: of its p99 over HTTP.

    `tokens`: of a text, None for images of `side` x `side` pixels.
    """

    name: str
    model: Any
    graph: Path
    flops: int
    weights: int
    limit_ms: float
    tokens: int | None
    side: int = 0

    def inputs(self, batch: int) -> Inputs:
        """A batch of random items, as they come out of a tokeniser or a decoder."""
        drawn = np.random.default_rng(batch)
        if self.tokens is None:
            return {"pixel_values": drawn.normal(size=(batch, 3, self.side, self.side)).astype(np.float32)}
        shape = (batch, self.tokens)
        ids = drawn.integers(0, self.model.config.vocab_size, shape)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def networks(folder: Path, *, tiny: bool, half: bool) -> Iterator[Network]:
    """BERT-base at 128 tokens and ResNet-50 at 224x224, or two `tiny` ones of the same make; `half`: graphs in fp16.

    Raises MissingError without PyTorch, transformers and optimum.
    """
    for needed in ("torch", "transformers", "optimum"):
        if importlib.util.find_spec(needed) is None:
            raise MissingError(
                f"loadtest gpu needs PyTorch, transformers and optimum, and {needed} is not installed; install them "
                "with `pip install '.[optimize]'`"
            )
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    with _quiet():
        yield _bert(folder, tiny=tiny, half=half)
        yield _resnet(folder, tiny=tiny, half=half)


def _bert(folder: Path, *, tiny: bool, half: bool) -> Network:
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import BertConfig, BertForSequenceClassification

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    # Eager attention is products of matrices, which are counted, and which ONNX Runtime's fusion finds.
    config = BertConfig(attn_implementation="eager", **({**small, "vocab_size": 100} if tiny else {}))  # type: ignore[arg-type, no-untyped-call, unused-ignore]  # transformers' types
    model: Any = BertForSequenceClassification(config)  # type: ignore[no-untyped-call]  # as above
    model.eval()
    plain, fused = _exported(model, folder / "bert", "text-classification"), folder / "bert.onnx"
    graph = optimize_model(
        str(plain),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=1,
        only_onnxruntime=False,
    )
    if half:
        graph.convert_float_to_float16(keep_io_types=True)
    _save(graph.model, fused)
    tokens = 16 if tiny else 128
    name = "tiny BERT" if tiny else "BERT-base"
    return _network(name, model, fused, limit_ms=100.0, tokens=tokens)


def _resnet(folder: Path, *, tiny: bool, half: bool) -> Network:
    import onnx
    from transformers import ResNetConfig, ResNetForImageClassification

    small: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    config = ResNetConfig(**(small if tiny else {}))  # type: ignore[no-untyped-call, unused-ignore]  # transformers' types
    model: Any = ResNetForImageClassification(config)  # type: ignore[no-untyped-call]  # as above
    model.eval()
    graph = onnx.load(_exported(model, folder / "resnet", "image-classification"))
    if half:
        from onnxconverter_common import float16

        graph = float16.convert_float_to_float16(graph, keep_io_types=True)
    _save(graph, folder / "resnet.onnx")
    name = "tiny ResNet" if tiny else "ResNet-50"
    return _network(name, model, folder / "resnet.onnx", limit_ms=15.0, tokens=None, side=32 if tiny else 224)


def _network(name: str, model: Any, graph: Path, *, limit_ms: float, tokens: int | None, side: int = 0) -> Network:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    weights = sum(weight.numel() for weight in model.parameters())
    made = Network(
        name=name, model=model, graph=graph, flops=0, weights=weights, limit_ms=limit_ms, tokens=tokens, side=side
    )
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(**{key: torch.from_numpy(array) for key, array in made.inputs(1).items()})
    return Network(
        name=name,
        model=model,
        graph=graph,
        flops=counter.get_total_flops(),
        weights=weights,
        limit_ms=limit_ms,
        tokens=tokens,
        side=side,
    )


def _exported(model: Any, folder: Path, task: str) -> Path:
    from optimum.exporters.onnx import onnx_export_from_model

    onnx_export_from_model(model, folder, opset=18, task=task, do_validation=False)
    return folder / "model.onnx"


def _save(graph: Any, path: Path) -> None:
    import onnx

    graph.ir_version = min(graph.ir_version, IR_VERSION)
    onnx.save(graph, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' warnings are about their internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
