"""Run a graph that somebody brings before anything is made of it, in the shapes in which it will be served.

It must take batches and texts of any length, know every id of its tokeniser, and say with our names and axes what its
file says. Each rule that it breaks is one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from onnxruntime import InferenceSession, RunOptions

from optimize.errors import CheckpointError
from optimize.models.graph_model import opened, session_of
from optimize.models.onnx_interface import PIXELS, TYPES, Interface
from serving.arrays import Array, Logits

MAX_GAP = 1e-3
"""How far rounding may move a logit, in parts of the largest."""
SHARES_SUM_TO_ONE = 1e-4
"""How far from 1 the sum of shares may be."""
_FATAL_ONLY = 4


class Trial:
    """A graph that runs. `path`: the file that was brought."""

    def __init__(self, interface: Interface, path: Path) -> None:
        self.path, self._interface = path, interface
        self._theirs = self._session(lambda: opened(path))
        self._ours = self._session(lambda: session_of(interface.model))

    def _session(self, make: Callable[[], InferenceSession]) -> InferenceSession:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have only Exception in common
            raise CheckpointError(
                f"checkpoint {self.path} cannot be read by ONNX Runtime ({_reason(error)}); export it again, with "
                "an older operator set or for the CPU"
            ) from None

    def logits(self, inputs: Mapping[str, Array], refusal: str) -> Logits:
        """The graph's logits [rows, labels]. Raises CheckpointError with `refusal` when it cannot compute them."""
        try:
            got = np.asarray(self._ours.run(["logits"], dict(inputs), _quietly())[0])
        except Exception as error:  # noqa: BLE001 - as above
            raise CheckpointError(f"checkpoint {self.path}: {refusal} ({_reason(error)})") from None
        rows = len(next(iter(inputs.values())))
        if got.ndim != 2 or len(got) != rows:
            raise CheckpointError(f"checkpoint {self.path}: {refusal} (an output of {list(got.shape)} for {rows} rows)")
        if not np.isfinite(got).all():
            raise CheckpointError(
                f"checkpoint {self.path} says things that are no numbers about a plain input; export it again in fp32"
            )
        return got

    def require_same(self, inputs: Mapping[str, Array]) -> None:
        """Raise CheckpointError unless our graph says what the file says; `inputs` have sizes that the file takes."""
        interface = self._interface
        named = {theirs: inputs[ours] for ours, theirs in interface.theirs.items()}
        as_brought = self._theirs.run([interface.output], named)[0]
        ours = torch.from_numpy(self.logits(inputs, "it does not compute in its own shape"))
        if interface.ending is not None:
            ours = ours.softmax(dim=-1) if interface.ending == "Softmax" else ours.sigmoid()
        if not _close(ours.numpy(), as_brought):
            raise CheckpointError(
                f"checkpoint {self.path} says other things once its batch has any size; export it with dynamic axes"
            )

    def require_batches(self, one: Mapping[str, Array]) -> int:
        """Raise CheckpointError unless two rows get what each gets alone; return the number of labels."""
        refusal = (
            "it is exported for a batch of one size, and requests come in batches of any; export it with a dynamic "
            "axis for the batch"
        )
        alone = self.logits(one, "it cannot compute a plain input")
        both = self.logits({name: np.concatenate([array, array]) for name, array in one.items()}, refusal)
        if not _close(both, np.concatenate([alone, alone])):
            raise CheckpointError(f"checkpoint {self.path}: {refusal} (two equal rows get unequal logits)")
        if (alone >= 0).all() and abs(float(alone.sum()) - 1) < SHARES_SUM_TO_ONE:
            raise CheckpointError(
                f"checkpoint {self.path} gives shares that add up to 1, and logits are taken; export it without its "
                "softmax"
            )
        return int(both.shape[1])


def try_texts(
    interface: Interface, path: Path, *, ids: Sequence[int], last_id: int, max_tokens: int, pairs: bool
) -> int:
    """The number of labels of a graph for texts that runs; `ids` are those of any text, `last_id` the tokeniser's."""
    trial = Trial(interface, path)
    rows, tokens = interface.sizes
    trial.require_same(_text(interface, np.resize(ids, (rows or 1, tokens or len(ids)))))
    short = np.resize(ids, (1, 3))
    fixed = f"it is exported for texts of {tokens} tokens" if tokens else "it cannot compute a short text"
    trial.logits(_text(interface, short), f"{fixed}, and texts have any length; export it with a dynamic axis for them")
    labels = trial.require_batches(_text(interface, short))
    trial.logits(
        _text(interface, np.resize(ids, (1, max_tokens))),
        f"it does not take texts of {max_tokens} tokens; lower text.max_tokens to the positions that it knows",
    )
    trial.logits(
        _text(interface, np.array([[*ids[:1], last_id]])),
        f"its tokeniser has {last_id + 1} ids and it has fewer embeddings, so that some tokens have none; resize them "
        "(model.resize_token_embeddings), train, and export it again",
    )
    if pairs and TYPES in interface.inputs:
        typed = _text(interface, short)
        typed[TYPES] += 1
        trial.logits(typed, "it knows no second token type, and [data] has pairs; export it without token_type_ids")
    return labels


def try_images(interface: Interface, path: Path, shape: tuple[int, int, int]) -> int:
    """The number of labels of a graph for images that runs; `shape`: channels, height and width of an image."""
    for name, ours, theirs in zip(("height", "width"), shape[1:], interface.sizes[2:], strict=True):
        if theirs not in (None, ours):
            raise CheckpointError(
                f"checkpoint {path} takes images with a {name} of {theirs} pixels, and they would have {ours}; set "
                f"{name} = {theirs} in [image]"
            )
    trial, rng = Trial(interface, path), np.random.default_rng(0)
    images = rng.normal(size=(interface.sizes[0] or 1, *shape)).astype(np.float32)
    trial.logits({PIXELS: images}, f"it does not take images of the shape {list(shape)}; set [image] to what it takes")
    trial.require_same({PIXELS: images})
    return trial.require_batches({PIXELS: images[:1]})


def _text(interface: Interface, ids: Array) -> dict[str, Array]:
    made = {"input_ids": ids.astype(np.int64)}
    made |= {"attention_mask": np.ones_like(made["input_ids"]), TYPES: np.zeros_like(made["input_ids"])}
    return {name: made[name] for name in interface.inputs}


def _close(ours: Array, theirs: Array) -> bool:
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= MAX_GAP * max(np.abs(theirs).max(), 1.0))


def _quietly() -> RunOptions:
    """Options under which ONNX Runtime prints nothing of a failure that is expected."""
    options = RunOptions()
    options.log_severity_level = _FATAL_ONLY
    return options


def _reason(error: Exception) -> str:
    """The operator that failed, or the first line without the name of the error and its code."""
    node = re.search(r"while running (\w+) node\. Name:'([^']*)'", str(error))
    return f"its {node[1]} {node[2]!r} fails" if node else str(error).strip().splitlines()[0].split(" : ")[-1][:160]
