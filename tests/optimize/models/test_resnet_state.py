from __future__ import annotations

from typing import Any

import pytest
import torch

from optimize.errors import CheckpointError
from optimize.models.resnet_state import State, find_resnet
from tests.optimize.models.resnets import resnet_state

STATE = resnet_state()


def under(prefix: str, state: State = STATE) -> State:
    return {prefix + key: value for key, value in state.items()}


def shifted() -> State:
    return {key: value + 1 for key, value in STATE.items()}


@pytest.mark.parametrize(
    "stored",
    [
        STATE,
        under("module."),
        {"state_dict": under("model."), "epoch": 3, "hyper_parameters": {"lr": 0.1}},  # Lightning
        {"model_state_dict": under("net.backbone."), "optimizer_state_dict": {"state": {0: {}}, "param_groups": [{}]}},
        {"model": under("_orig_mod.module."), "scaler": None},
        {"run": {"weights": STATE}},
    ],
)
def test_a_resnet_is_found_below_wrappers_and_prefixes(stored: Any) -> None:
    found = find_resnet(stored, "x.pth")
    assert {key: value.shape for key, value in found.state.items()} == {key: STATE[key].shape for key in STATE}
    assert torch.equal(found.state["fc.bias"], STATE["fc.bias"])
    assert found.remarks == []


@pytest.mark.parametrize("prefix", ["", "model."])
def test_what_only_training_needs_is_passed_over_and_said(prefix: str) -> None:
    beside = {"criterion.weight": torch.ones(3), f"{prefix}train_acc.total": torch.tensor(9)}
    found = find_resnet({"state_dict": under(prefix) | beside}, "x.ckpt")
    assert found.state.keys() == STATE.keys()
    (remark,) = found.remarks
    assert remark == f"passed over, as no part of the ResNet: {', '.join(beside)}"


def test_other_tensors_of_the_model_stay_and_are_judged_later() -> None:
    assert "attention.weight" in find_resnet(STATE | {"attention.weight": torch.ones(1)}, "x.pth").state


def test_averaged_weights_are_preferred_and_said() -> None:
    stored = {"model": STATE, "model_ema": {"n_averaged": torch.tensor(5)} | under("module.", shifted())}
    found = find_resnet(stored, "x.pth")
    assert torch.equal(found.state["fc.bias"], STATE["fc.bias"] + 1)
    assert found.remarks[0] == "of the state dicts 'model', 'model_ema' the averaged 'model_ema' is taken"
    side_by_side = {"state_dict": under("model.") | under("ema_model.", shifted())}
    assert torch.equal(find_resnet(side_by_side, "x.ckpt").state["fc.bias"], STATE["fc.bias"] + 1)


def test_two_resnets_are_refused_by_their_names() -> None:
    with pytest.raises(CheckpointError, match=r"x\.ckpt holds 2 ResNets under the prefixes 'student\.', 'teacher\.'"):
        find_resnet({"state_dict": under("student.") | under("teacher.")}, "x.ckpt")
    with pytest.raises(CheckpointError, match=r"2 state dicts 'generator', 'other', and one is needed"):
        find_resnet({"generator": STATE, "other": STATE}, "x.pth")


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (torch.ones(3), r"holds a Tensor and no state dict"),
        ([STATE], r"holds a list and no state dict"),
        ({}, r"layer1\.0\.conv1\.weight is not there, but nothing"),
        ({f"blocks.{n}": torch.ones(1) for n in range(400)}, r"but blocks\.0, blocks\.1, blocks\.2 and 397 more\)"),
    ],
)
def test_what_is_no_resnet_is_named_in_few_words(stored: Any, told: str) -> None:
    with pytest.raises(CheckpointError, match=told) as caught:
        find_resnet(stored, "x.pth")
    assert "save_pretrained" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_half_precision_becomes_float32() -> None:
    halves = {key: value.half() if value.is_floating_point() else value for key, value in STATE.items()}
    state = find_resnet(halves, "x.pth").state
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}
