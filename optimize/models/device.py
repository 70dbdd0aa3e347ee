"""Where models learn and answer while they are made: on a GPU when torch has one, else on the CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn

ANSWERING_TIMES = 8
"""On a GPU batches that are only answered are so many times as large: their size changes no answer."""


def training_device() -> torch.device:
    """The GPU when torch has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def move(model: nn.Module, device: torch.device) -> None:
    """Move a model to a device in place; transformers' own `to` has wrong types."""
    model.to(device)


def learns_in_bf16(device: torch.device) -> bool:
    """Whether a model learns in bf16 there: on GPUs that compute in it (Ampere and newer), which takes half the time.

    bf16 has the range of fp32, so gradients need no scaling, as they do in fp16 (Micikevicius et al. 2018,
    arXiv:1710.03740).
    """
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def learning(device: torch.device) -> AbstractContextManager[None]:
    """The precision in which a model learns on a device: bf16 for its products where `learns_in_bf16`, else fp32.

    Weights, their updates and what the losses sum up stay in fp32.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=learns_in_bf16(device))


def answering_batch(size: int, device: torch.device) -> int:
    """The size of batches that are only answered, where `size` is that for a CPU."""
    return size * ANSWERING_TIMES if device.type == "cuda" else size
