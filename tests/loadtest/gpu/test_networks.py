"""The two models, tiny and real: exported, fused, and the same as in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from loadtest.errors import MissingError
from loadtest.gpu import networks as module
from loadtest.gpu.networks import Network, networks


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Network]]:
    return list(networks(tmp_path_factory.mktemp("networks"), tiny=True, half=False))  # type: ignore[return-value]


def test_the_graphs_compute_what_pytorch_does(made: list[Network]) -> None:
    for network in made:
        inputs = network.inputs(3)
        session = onnxruntime.InferenceSession(str(network.graph), providers=["CPUExecutionProvider"])
        got = session.run(["logits"], {each.name: inputs[each.name] for each in session.get_inputs()})[0]
        with torch.inference_mode():
            expected = network.model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


def test_bert_is_fused(made: list[Network]) -> None:
    kinds = [node.op_type for node in onnx.load(made[0].graph).graph.node]
    assert kinds.count("Attention") == 2
    assert "SkipLayerNormalization" in kinds
    assert {"Gelu", "BiasGelu", "FastGelu"} & set(kinds)


def test_operations_are_counted_from_the_model(made: list[Network]) -> None:
    bert, resnet = made
    tokens, width, inner, layers = 16, 32, 64, 2
    products = layers * (2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * tokens**2 * width)
    head = 2 * width**2 + 2 * width * bert.model.config.num_labels
    assert bert.flops == products + head
    assert resnet.flops > 0
    assert bert.weights == sum(weight.numel() for weight in bert.model.parameters())


def test_in_half_the_graphs_take_and_give_floats(tmp_path: Path) -> None:
    for network in networks(tmp_path, tiny=True, half=True):
        graph = onnx.load(network.graph).graph
        kinds = {tensor.data_type for tensor in graph.initializer}
        assert onnx.TensorProto.FLOAT16 in kinds
        assert onnx.TensorProto.FLOAT not in kinds
        assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_batches_are_the_same_each_time(made: list[Network]) -> None:
    for network in made:
        for name, array in network.inputs(4).items():
            assert len(array) == 4
            np.testing.assert_array_equal(array, network.inputs(4)[name])


def test_without_pytorch_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="torch is not installed; install them with `pip install"):
        next(networks(tmp_path, tiny=True, half=False))
