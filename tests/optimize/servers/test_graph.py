"""What a configuration says of a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimize.servers.graph import Graph
from tests.optimize.score.tiny_models import tiny_cascade


def graph_of(folder: Path, kind: Any = "text", **changed: Any) -> Graph:
    """The graph of a tiny expert."""
    artifact = tiny_cascade(folder, kind, **changed).expert.artifact
    variant = artifact.manifest.variants["cpu-fp32"]
    path = artifact.variant_path("cpu-fp32")
    return Graph("tiny-expert", "cpu-fp32", variant, artifact.manifest, artifact.digest, "1231", path)


@pytest.mark.parametrize(
    ("alone", "sizes"), [(False, [(1, (8,)), (32, (8,))]), (True, [(1, (8,))])], ids=["together", "alone"]
)
def test_it_is_warmed_up_with_what_it_may_get(tmp_path: Path, alone: bool, sizes: list[Any]) -> None:
    assert graph_of(tmp_path, alone=alone).warm_up_shapes() == sizes


def test_its_tensors_are_those_of_the_artifact(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, "image")
    assert [str(form) for form in graph.inputs] == ["pixel_values FP32 [-1, 3, 4, 4]"]
    assert str(graph.output) == "logits FP32 [-1, 3]"
    assert not graph.on_gpu
