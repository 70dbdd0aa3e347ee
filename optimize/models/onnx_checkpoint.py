"""Take in a ready ONNX file with its tokeniser or image settings, as the teacher of a recipe.

What is checked stands in `onnx_file` (the file), `onnx_interface` (inputs and output) and `onnx_trial` (what it says).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from optimize.errors import CheckpointError
from optimize.models.graph_model import CONFIG, GraphModel, config_with, session_of
from optimize.models.heads import HeadRules, few, label_maps, order_of, unlike
from optimize.models.image_checkpoint import require_channels
from optimize.models.image_settings import PROCESSOR_FILE
from optimize.models.onnx_file import external_files, found_in, precision_of, read_onnx
from optimize.models.onnx_interface import Interface, with_labels_in_order, with_our_interface
from optimize.models.onnx_trial import try_images, try_texts
from optimize.models.problems import problem_type_of, require_problem
from optimize.models.saved import Task
from optimize.models.tokenisers import FILES, SETTINGS, readable_tokeniser
from optimize.progress import console
from optimize.results import ON_GPU, digest_below, digest_of
from serving.model.artifact import ImageSettings


@dataclass(frozen=True, slots=True)
class TextInputs:
    """How the texts of a recipe reach the graph."""

    max_tokens: int
    pairs: bool


class OnnxFiles:
    """The files of a ready graph. `path`: the ONNX file or its folder. `tokenizer`: a folder of its own."""

    def __init__(self, path: Path, tokenizer: Path | None) -> None:
        self.file = found_in(path)
        self.tokenizer = tokenizer or self.file.parent

    @property
    def folder(self) -> Path:
        """The folder that describes the graph: the file's, or the tokeniser's where only that has a config.json."""
        beside = self.file.parent
        return beside if (beside / CONFIG).is_file() else self.tokenizer

    @property
    def digest(self) -> str:
        """sha256 over all files that the model is made of."""
        graph = onnx.load(self.file, load_external_data=False)
        described = [self.folder / name for name in (CONFIG, PROCESSOR_FILE)]
        read = [self.tokenizer / name for name in (*FILES, "merges.txt", SETTINGS, "special_tokens_map.json")]
        files = [self.file, *external_files(self.file, graph), *described, *read]
        return digest_of([digest_below(file) for file in files if file.is_file()])

    @property
    def config(self) -> dict[str, Any]:
        """What config.json says; empty without one. Raises CheckpointError."""
        path = self.folder / CONFIG
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        except ValueError:
            raise CheckpointError(f"checkpoint {path} is not whole JSON; copy or download it again") from None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels that config.json names, in the order of the graph's output; None where it names none."""
        names = self.config.get("id2label")
        if not isinstance(names, dict) or not all(str(place).isdecimal() for place in names):
            return None
        return tuple(str(name) for _, name in sorted((int(place), name) for place, name in names.items())) or None


def take_in_graph(
    files: OnnxFiles,
    task: Task,
    labels: tuple[str, ...],
    rules: HeadRules,
    inputs: TextInputs | ImageSettings,
) -> GraphModel:
    """The graph with our names and its labels in the order of `labels`. Raises CheckpointError when it cannot serve."""
    model, path = read_onnx(files.file), files.file
    if precision_of(model) in ON_GPU:
        raise CheckpointError(
            f"checkpoint {path} has weights of 16 bits, which are for a GPU, and every artifact needs a graph for the "
            'CPU; bring the fp32 export: the step fuse with precision = "fp16" makes the variant for a GPU of it'
        )
    interface = with_our_interface(model, task, path)
    _require_ending(interface, path, multi_label=rules.multi_label)
    require_problem(path, files.config.get("problem_type"), problem_type_of(multi_label=rules.multi_label))
    channels = {"num_channels": interface.sizes[1] or len(inputs.mean)} if isinstance(inputs, ImageSettings) else {}
    problem = {"problem_type": problem_type_of(multi_label=True)} if rules.multi_label else {}
    config = config_with(files.config | label_maps(labels) | channels | problem)
    if isinstance(inputs, ImageSettings):
        require_channels(config, inputs)
    ordered = _in_order(interface, files, _tried(interface, files, inputs), labels, rules)
    return GraphModel(config, ordered, session_of(ordered))


def _tried(interface: Interface, files: OnnxFiles, inputs: TextInputs | ImageSettings) -> int:
    """The number of labels of a graph that runs."""
    if isinstance(inputs, ImageSettings):
        shape = len(inputs.mean), inputs.height, inputs.width
        return try_images(interface, files.file, shape)
    tokenizer = readable_tokeniser(files.tokenizer)
    ids: list[int] = tokenizer("a plain text")["input_ids"]
    last_id = max(tokenizer.get_vocab().values())
    return try_texts(interface, files.file, ids=ids, last_id=last_id, max_tokens=inputs.max_tokens, pairs=inputs.pairs)


def _require_ending(interface: Interface, path: Path, *, multi_label: bool) -> None:
    if interface.ending is None:
        return
    if multi_label != (interface.ending == "Sigmoid"):
        remedy = 'set problem = "multi-label" in [data]' if interface.ending == "Sigmoid" else "leave problem out"
        gives = "every label that fits" if interface.ending == "Sigmoid" else "exactly one label"
        raise CheckpointError(
            f"checkpoint {path} ends in {interface.ending}, so that it gives an item {gives}, and the data has another "
            f"problem; {remedy}, or bring the graph for the data"
        )
    console.print(f"checkpoint {path} ends in {interface.ending}; its logits are taken before it", markup=False)


def _in_order(
    interface: Interface, files: OnnxFiles, count: int, labels: Sequence[str], rules: HeadRules
) -> onnx.ModelProto:
    theirs = files.labels
    named = "" if theirs is None else f", its {CONFIG} names {len(theirs)}"
    if count != len(labels) or (theirs is not None and len(theirs) != count):
        raise CheckpointError(
            f"checkpoint {files.file} has an output for {count} labels{named}, and the data has {len(labels)} "
            f"({few(labels)}); mend the data's labels, or bring a graph for them"
        )
    if theirs is None:
        return interface.model
    order = order_of(theirs, labels, rules)
    if order is None:
        raise CheckpointError(f"checkpoint {files.folder} {unlike(theirs, labels)}")
    return interface.model if order == list(range(count)) else with_labels_in_order(interface.model, order)
