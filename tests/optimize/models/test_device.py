"""Where models learn: there is no GPU here, so its precision is forced on the CPU, which computes in bf16, too."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from optimize.build import Build
from optimize.models import device as module
from optimize.models.device import answering_batch, learning, learns_in_bf16, move, training_device
from optimize.models.saved import load_model
from optimize.models.training import TrainingConfig, cross_entropy, predict, train

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CONFIG = TrainingConfig(epochs=3, learning_rate=1e-3)


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_is_used_where_torch_has_one(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert training_device() == (CUDA if there else CPU)


@pytest.mark.parametrize("supported", [True, False])
def test_bf16_is_for_gpus_that_compute_in_it(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    def is_supported(*, including_emulation: bool) -> bool:
        assert not including_emulation, "emulated, it is slower than fp32"
        return supported

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert learns_in_bf16(CUDA) is supported
    assert not learns_in_bf16(CPU)


def test_a_cpu_learns_in_fp32() -> None:
    with learning(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_answers_come_in_larger_batches_from_a_gpu() -> None:
    assert answering_batch(64, CPU) == 64
    assert answering_batch(64, CUDA) > 64


def test_a_model_is_moved_in_place() -> None:
    layer = torch.nn.Linear(2, 2)
    move(layer, torch.device("meta"))
    assert layer.weight.device.type == "meta"


def trained(build: Build, seen: list[tuple[torch.dtype, torch.dtype]]) -> Any:
    def loss(output: Any, targets: Any, indices: Any, view: int) -> Any:
        value = cross_entropy(output, targets, indices, view)
        seen.append((output.logits.dtype, value.dtype))
        return value

    model = load_model(build.folder / "checkpoint", build.recipe.task)
    return train(model, build.prepared("train"), build.preparer, CONFIG, loss=loss, seed=1, title="test")


def test_a_model_learns_in_bf16_what_it_learns_in_fp32(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    in_fp32: list[tuple[torch.dtype, torch.dtype]] = []
    in_bf16: list[tuple[torch.dtype, torch.dtype]] = []
    plain = trained(build, in_fp32)
    monkeypatch.setattr(module, "learns_in_bf16", lambda device: True)
    half = trained(build, in_bf16)
    assert set(in_fp32) == {(torch.float32, torch.float32)}
    assert set(in_bf16) == {(torch.bfloat16, torch.float32)}, "the loss is summed up in fp32"
    assert {weight.dtype for weight in half.parameters()} == {torch.float32}
    weights, others = plain.state_dict(), half.state_dict()
    assert any(not torch.equal(weights[name], others[name]) for name in weights)
    data = build.prepared("train")
    ours, theirs = (predict(model, data, build.preparer) for model in (plain, half))
    assert ours.dtype == theirs.dtype == "float32"
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.9


def test_the_same_seed_gives_the_same_weights_in_bf16(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "learns_in_bf16", lambda device: True)
    one, other = (trained(build, []).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
