"""A published cascade, and the same models for the baselines."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.published import Published
from loadtest.baselines.model import Model
from tests.conftest import TinyCascades


@pytest.mark.parametrize(("name", "kind"), [("tiny-text", "text"), ("tiny-image", "image")])
def test_a_baseline_has_all_that_its_model_needs(name: str, kind: str, tiny_cascades: TinyCascades) -> None:
    published = Published(name, tiny_cascades.home / "models")
    assert (published.kind, published.name) == (kind, name)
    screen = published.screen
    graph = screen.variant_path(published.point.screen_variant)
    baseline = published.baseline(screen, "onnx", graph)
    assert Path(baseline["model"]).is_file()
    model = Model(baseline)
    assert model.labels == list(screen.manifest.labels)
    assert ("tokenizer" in baseline) == (kind == "text")
    assert ("mean" in baseline) == (kind == "image")
