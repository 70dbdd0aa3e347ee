"""The teacher's outputs on a train split, in files that are read where they lie.

They are computed once, batch by batch, and only the layers that a student follows are kept: all outputs on two million
texts fit into no memory. A run that was stopped goes on after the last batch that it wrote.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from optimize.data.inputs import Prepared, Preparer, ordered_batches
from optimize.models.device import move, training_device
from optimize.models.training import TrainingConfig, augmented_tensors
from optimize.progress import progress

BATCH = 64
FLUSHED_EVERY_S = 30.0
"""What a machine that loses its power may lose of the outputs. A process that is stopped loses one batch."""


@dataclass(frozen=True, slots=True)
class TeacherOutputs:
    """`logits` float32 [views, items, labels]; `hidden` float32 [views, items, width] of the layers that are followed.

    The keys of `hidden` are the places of the student's layers. Hidden states keep their 32 bits, since half of them
    would make another student.
    """

    logits: NDArray[np.float32]
    hidden: Mapping[int, NDArray[np.float32]]

    @classmethod
    def compute(
        cls,
        teacher: PreTrainedModel,
        data: Prepared,
        preparer: Preparer,
        config: TrainingConfig,
        seed: int,
        folder: Path,
        followed: Mapping[int, int],
    ) -> TeacherOutputs:
        """Run the teacher over every view of `data`; what `folder` has from an earlier run is not computed again.

        `followed` gives the place of the teacher's layer for each place of the student's.
        """
        wanted = ["logits", *(_name(layer) for layer in sorted(set(followed.values())))]
        missing = [name for name in wanted if not _file(folder, name).exists()]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            _Writer(folder, missing, len(data) * config.views).write(teacher, data, preparer, config, seed)
        kept = {name: np.asarray(np.load(_file(folder, name), mmap_mode="r")) for name in wanted}
        return cls(kept["logits"], {place: kept[_name(layer)] for place, layer in followed.items()})


def followed_layers(teacher: PreTrainedModel, student: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[int, int]:
    """For each place of the student's layers that of the teacher's layer which it follows, matched from the top down.

    `inputs` are those of one item. A layer of another width than its match follows none, and no layer follows a teacher
    that has no hidden states to show.
    """
    theirs, own = _widths(teacher, inputs), _widths(student, inputs)
    if not theirs:
        return {}
    matched = {place: ((place + 1) * len(theirs) // len(own) - 1) % len(theirs) for place in range(len(own))}
    return {place: layer for place, layer in matched.items() if theirs[layer] == own[place]}


@torch.inference_mode()
def _widths(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> list[int]:
    return [state.shape[-1] for state in pooled_states(model(**inputs, output_hidden_states=True))]


def pooled_states(output: Any) -> list[Tensor]:
    """[batch, width] for each layer without the stem: the first token's state, or the mean over height and width."""
    return [state[:, 0] if state.ndim == 3 else state.mean(dim=(2, 3)) for state in output.hidden_states[1:]]


def _name(layer: int) -> str:
    return f"hidden-{layer}"


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


class _Writer:
    """Writes the files `names` of a folder beside their places, and then renames them."""

    def __init__(self, folder: Path, names: list[str], rows: int) -> None:
        self._folder, self._names, self._rows = folder, names, rows
        self._marker = folder / "progress.json"
        self._arrays: dict[str, NDArray[np.float32]] = {}

    def write(
        self, teacher: PreTrainedModel, data: Prepared, preparer: Preparer, config: TrainingConfig, seed: int
    ) -> None:
        batches = [(view, each) for view in range(config.views) for each in ordered_batches(data, BATCH)]
        done, device = self._done(), training_device()
        move(teacher, device)
        flushed_s = time.monotonic()
        start = sum(len(indices) for _, indices in batches[:done])
        with progress("teacher outputs", total=self._rows, start=start) as advance:
            try:
                for view, indices in batches[done:]:
                    inputs = augmented_tensors(data, preparer, config.augmentation(seed), indices, view)
                    outputs = self._run(teacher, {name: tensor.to(device) for name, tensor in inputs.items()})
                    for name, output in outputs.items():
                        self._array(name, (config.views, len(data), *output.shape[1:]))[view, indices] = output
                    done += 1
                    advance(len(indices))
                    if time.monotonic() - flushed_s > FLUSHED_EVERY_S:
                        self._flush(done)
                        flushed_s = time.monotonic()
            finally:
                self._flush(done)
        teacher.cpu()
        for name in self._names:
            os.replace(self._partial(name), _file(self._folder, name))
        self._marker.unlink()

    @torch.inference_mode()
    def _run(self, teacher: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
        hidden = any(name != "logits" for name in self._names)
        output = teacher(**inputs, output_hidden_states=hidden)
        states = pooled_states(output) if hidden else ()
        found = {"logits": output.logits} | {_name(place): state for place, state in enumerate(states)}
        return {name: found[name].cpu().numpy() for name in self._names}

    def _partial(self, name: str) -> Path:
        return self._folder / f"{name}.partial.npy"

    def _array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if name not in self._arrays:
            path = self._partial(name)
            self._arrays[name] = open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
            with path.open("r+b") as file:
                # Without it a full disk would end the process at a write into the memory map.
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return self._arrays[name]

    def _done(self) -> int:
        """How many batches an earlier run wrote of the same files, which are opened."""
        state = json.loads(self._marker.read_text()) if self._marker.exists() else {}
        if state.get("names") != self._names:
            return 0
        self._arrays = {name: open_memmap(self._partial(name), mode="r+") for name in self._names}
        return int(state["batches"])

    def _flush(self, done: int) -> None:
        if not done:
            return
        for array in self._arrays.values():
            assert isinstance(array, np.memmap)
            array.flush()
        beside = self._marker.with_suffix(".partial")
        beside.write_text(json.dumps({"names": self._names, "batches": done}))
        os.replace(beside, self._marker)
