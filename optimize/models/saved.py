"""Checkpoints as we write and read them: folders in transformers' layout.

A checkpoint is config.json, model.safetensors and the tokeniser's files; a ready graph has model.onnx for its weights.
A model whose channels were pruned, or whose heads were cut by hand, has `pruned: true` in its config; loading cuts its
modules to the shapes of the stored tensors.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

import optimize.models.cifar_resnet
import optimize.models.torchvision_resnet  # noqa: F401  # makes transformers' Auto classes know both
from optimize.models.attention_heads import count_heads
from optimize.models.graph_model import graph_in, load_graph_model

Task = Literal["text", "image"]


def load_model(folder: Path, task: Task) -> PreTrainedModel:
    """A model saved by `save_model`, in evaluation mode, float32, on the CPU."""
    if graph_in(folder) is not None:
        return load_graph_model(folder)
    config = AutoConfig.from_pretrained(folder)
    model: PreTrainedModel
    if getattr(config, "pruned", False):
        return from_state(auto_class(task).from_config, config, load_file(folder / "model.safetensors"))
    model = auto_class(task).from_pretrained(folder)
    nn.Module.eval(model)
    return model


def from_state(
    make: Callable[..., PreTrainedModel], config: PretrainedConfig, state: dict[str, torch.Tensor]
) -> PreTrainedModel:
    """The model that `make` makes of `config`, with the weights `state`, whose shapes may be smaller.

    It is in evaluation mode, float32, on the CPU.
    """
    model = make(config, dtype=torch.float32)
    cut_to_state(model, state)
    count_heads(model)
    model.load_state_dict(state)
    nn.Module.eval(model)
    return model


def save_model(model: PreTrainedModel, folder: Path, tokenizer_from: Path | None = None) -> Path:
    """Write a checkpoint beside, then rename it; copies the tokeniser of the folder `tokenizer_from`."""
    beside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    if tokenizer_from is not None:
        load_tokenizer(tokenizer_from).save_pretrained(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return folder


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The fast tokeniser of a checkpoint folder."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, use_fast=True)  # type: ignore[no-untyped-call]  # transformers has no types for it
    return tokenizer


def cut_to_state(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Give every module the shapes of its tensors in `state`, so that a pruned state dict fits."""
    for name, module in model.named_modules():
        weight = state.get(f"{name}.weight")
        if weight is None or weight.shape == module.weight.shape:
            continue
        if isinstance(module, nn.Conv2d):
            if 1 < module.groups == module.in_channels:
                module.groups = weight.shape[0]  # each channel is a group of its own
            module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features = weight.shape[0]
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = weight.shape
        for key, _ in list(module.named_parameters(recurse=False)):
            setattr(module, key, nn.Parameter(torch.empty_like(state[f"{name}.{key}"])))
        for key, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(key, torch.empty(state[f"{name}.{key}"].shape, dtype=buffer.dtype))


def auto_class(task: Task) -> Any:
    """transformers' Auto class for models of a task."""
    return AutoModelForSequenceClassification if task == "text" else AutoModelForImageClassification
