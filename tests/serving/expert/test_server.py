"""The names that the protocol has for the types of prepared items."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serving.expert.graph_form import inputs_of
from serving.expert.server import DATATYPES
from serving.model.preprocess import example_items, preprocessor
from tests.made import make_artifact
from tests.optimize.score.tiny_models import tiny_cascade


def test_what_is_collated_has_the_form_that_the_graph_is_said_to_take(tmp_path: Path) -> None:
    for artifact in (make_artifact(tmp_path / "i", ["cpu-fp32"]), tiny_cascade(tmp_path / "t").expert.artifact):
        collated = preprocessor(artifact).collate(example_items(artifact.manifest.settings)[:1])
        forms = inputs_of(artifact.manifest)
        assert [form.name for form in forms] == list(collated)
        for form, array in zip(forms, collated.values(), strict=True):
            assert DATATYPES[np.asarray(array).dtype] == form.datatype
            assert all(ours in (-1, size) for ours, size in zip(form.shape, array.shape, strict=True))
