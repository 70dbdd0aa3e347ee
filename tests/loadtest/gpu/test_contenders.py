"""The ways to run a model, as far as they can be had without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtest.errors import MissingError
from loadtest.gpu.contenders import OURS, WAYS
from loadtest.gpu.networks import networks


def test_every_way_on_a_cpu_gives_the_same_logits(tmp_path: Path) -> None:
    loads = {way.name: way.load for way in WAYS if not way.on_gpu_alone and way.name != "PyTorch compiled"}
    assert set(loads) == {"ONNX Runtime", "PyTorch eager"}
    for network in networks(tmp_path, tiny=True, half=False):
        inputs = network.inputs(5)
        ours, theirs = (load(network, False)(inputs, 5)() for load in loads.values())
        assert ours.shape == (5, network.model.config.num_labels)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_runs_do_not_share_what_they_give(tmp_path: Path) -> None:
    network = next(networks(tmp_path, tiny=True, half=False))
    opened = WAYS[0].load(network, False)
    one, other = opened(network.inputs(2), 2), opened(network.inputs(3), 3)
    first = one()
    kept = first.copy()
    other()
    one()
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("name", ["ONNX Runtime", "ONNX Runtime, CUDA graphs", "TensorRT"])
def test_what_cannot_start_on_a_gpu_is_missing(tmp_path: Path, name: str) -> None:
    """ONNX Runtime is really asked for CUDA or TensorRT, and falls back to the CPU."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    (way,) = [way for way in WAYS if way.name == name]
    network = next(networks(tmp_path, tiny=True, half=False))
    with pytest.raises(MissingError, match="cannot start"):
        way.load(network, True)


def test_our_ways_are_among_them() -> None:
    assert set(OURS) < {way.name for way in WAYS}
