"""The graph that another server runs, and all that its configuration says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.expert.graph_form import TensorForm, inputs_of, output_of
from serving.model.artifact import Manifest, Variant, VariantName
from serving.model.preprocess import example_items
from serving.model.runner import MAX_ROWS
from serving.model.shapes import WARM_UP_BATCH_SIZES


@dataclass(frozen=True, slots=True)
class Graph:
    """A variant of an expert, under the name and the version that a server has it. `path` is its ONNX file."""

    model: str
    name: VariantName
    variant: Variant
    manifest: Manifest
    digest: str
    version: str
    path: Path

    @property
    def inputs(self) -> list[TensorForm]:
        """What it takes; -1 stands for any size."""
        return inputs_of(self.manifest)

    @property
    def output(self) -> TensorForm:
        """What it gives."""
        return output_of(self.manifest)

    @property
    def on_gpu(self) -> bool:
        """Whether it is made for a GPU."""
        return self.variant.provider == "CUDAExecutionProvider"

    def warm_up_shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        """Batch sizes, and shapes of one item of each input, to run before the first request."""
        most = 1 if self.variant.alone else MAX_ROWS
        sizes = [size for size in WARM_UP_BATCH_SIZES if size in (1, most)]
        return [(size, item.shape) for item in example_items(self.manifest.settings) for size in sizes]
