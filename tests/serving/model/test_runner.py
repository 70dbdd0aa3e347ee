"""From prepared items to logits: together, or one item at a time where company would change an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.model.artifact import Artifact, TextSettings, VariantName
from serving.model.preprocess import WARM_UP_BATCH_SIZES, Preprocessor, preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from serving.model.text import TextEncoder
from tests.conftest import TinyCascades
from tests.tiny_recipes import messages

TEXTS = [text for text, _ in messages(160, seed=5)]


class Noting(Session):
    """Notes the shape of each batch that runs."""

    def __init__(self, artifact: Artifact, variant: VariantName) -> None:
        super().__init__(artifact, variant)
        self.ran: list[tuple[int, ...]] = []

    def run(self, inputs: Any) -> Logits:
        self.ran.append(next(iter(inputs.values())).shape)
        return super().run(inputs)


def opened(cascades: TinyCascades, role: str, variant: VariantName) -> tuple[Noting, TextEncoder]:
    artifact = Artifact.open(cascades.artifact("tiny-text", role))
    preprocess: Preprocessor = preprocessor(artifact)
    assert isinstance(preprocess, TextEncoder)
    return Noting(artifact, variant), preprocess


def items_of(preprocess: TextEncoder) -> list[Array]:
    return list(preprocess.encode_batch(TEXTS))


@pytest.mark.parametrize("role", ["screen", "expert"])
@pytest.mark.parametrize("variant", ["cpu-fp32", "cpu-int8"])
def test_logits_do_not_depend_on_company(tiny_cascades: TinyCascades, role: str, variant: VariantName) -> None:
    session, preprocess = opened(tiny_cascades, role, variant)
    runner, items = Runner(session, preprocess), items_of(preprocess)
    alone = np.concatenate([runner.run([item]) for item in items])
    for size in (2, 16, 32):
        together = np.concatenate([runner.run(items[start : start + size]) for start in range(0, len(items), size)])
        assert together.dtype == np.float32
        np.testing.assert_allclose(together, alone, atol=1e-4, rtol=0)
        np.testing.assert_array_equal(together.argmax(axis=1), alone.argmax(axis=1))


def test_dynamic_int8_in_one_batch_would_depend_on_it(tiny_cascades: TinyCascades) -> None:
    """What the rule is for: the same graph moves logits when its items share a batch."""
    session, preprocess = opened(tiny_cascades, "expert", "cpu-int8")
    items = items_of(preprocess)
    alone = np.concatenate([session.run(preprocess.collate([item])) for item in items[:16]])
    assert session.alone
    assert np.abs(session.run(preprocess.collate(items[:16])) - alone).max() > 1e-3


@pytest.mark.parametrize("variant", ["cpu-fp32", "cpu-int8"])
def test_warming_up_runs_every_shape_that_requests_can_bring(tiny_cascades: TinyCascades, variant: VariantName) -> None:
    session, preprocess = opened(tiny_cascades, "screen", variant)
    settings = TextSettings(max_tokens=48, pad_token_id=0, inputs=("input_ids",))
    Runner(session, preprocess).warm_up(settings)
    sizes = (1,) if session.alone else WARM_UP_BATCH_SIZES
    assert set(session.ran) == {(size, length) for size in sizes for length in (8, 16, 32, 48)}
