"""From prepared items to logits: together, or one item at a time where company would change an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.model.artifact import Artifact, TextSettings, VariantName
from serving.model.preprocess import Preprocessor, preprocessor
from serving.model.runner import MAX_ROWS, Runner
from serving.model.session import Session
from serving.model.shapes import WARM_UP_BATCH_SIZES
from serving.model.text import TextEncoder
from tests.conftest import TinyCascades
from tests.tiny_recipes import messages

WATCHED = "fraud-report"
TEXTS = [text for text, _ in messages(160, seed=5)]


class Noting(Session):
    """Notes the shape of each batch that runs."""

    def __init__(self, artifact: Artifact, variant: VariantName) -> None:
        super().__init__(artifact, variant)
        self.ran: list[tuple[int, ...]] = []

    def run(self, inputs: Any) -> Logits:
        self.ran.append(next(iter(inputs.values())).shape)
        return super().run(inputs)


def opened(cascades: TinyCascades, role: str, variant: VariantName, **settings: Any) -> tuple[Noting, TextEncoder]:
    """A variant and its tokeniser, with other `settings` than the artifact's where there are some."""
    artifact = Artifact.open(cascades.artifact("tiny-text", role))
    changed = artifact.manifest.settings.model_copy(update=settings)
    artifact = Artifact(artifact.folder, artifact.manifest.model_copy(update={"settings": changed}))
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


@pytest.mark.parametrize("role", ["screen", "expert"])
@pytest.mark.parametrize("variant", ["cpu-fp32", "cpu-int8"])
def test_a_text_in_windows_is_one_item_whatever_its_company(
    tiny_cascades: TinyCascades, role: str, variant: VariantName
) -> None:
    session, preprocess = opened(tiny_cascades, role, variant, long_texts="windows")
    runner = Runner(session, preprocess)
    items = [preprocess.item(" ".join(TEXTS[:count]))[0] for count in (1, 4, 2, 40, 1, *[40] * 9)]
    assert {item.ndim for item in items} == {1, 2}
    together = runner.run(items)
    assert max(rows for rows, _ in session.ran) <= MAX_ROWS
    np.testing.assert_allclose(together, np.concatenate([runner.run([item]) for item in items]), atol=1e-4, rtol=0)
    rows = session.run(preprocess.collate([items[3]]))
    np.testing.assert_allclose(together[3], rows.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("role", ["screen", "expert"])
def test_most_watched_texts_are_found_behind_harmless_words(tiny_cascades: TinyCascades, role: str) -> None:
    """Windows of about the length that the model was trained on: the last one holds little but the text at its end."""
    watched = Artifact.open(tiny_cascades.artifact("tiny-text", role)).manifest.labels.index(WATCHED)
    rows = messages(300, seed=9)
    harmless = " ".join(text for text, label in rows if label == "fee-question")[:1_500]
    texts = [text for text, label in rows if label == WATCHED]

    def passing(before: str, **settings: Any) -> int:
        session, preprocess = opened(tiny_cascades, role, "cpu-fp32", max_tokens=20, **settings)
        runner = Runner(session, preprocess)
        logits = np.concatenate([runner.run([preprocess.item(before + text)[0]]) for text in texts])
        return int((logits.argmax(axis=1) != watched).sum())

    assert passing(f"{harmless} ") == len(texts)
    watching = {"long_texts": "windows", "watched_label": watched}
    assert passing(f"{harmless} ", **watching) < len(texts) / 3
    assert passing("", **watching) <= passing("") + 1, "texts of one window, or of hardly more than one"


@pytest.mark.parametrize("variant", ["cpu-fp32", "cpu-int8"])
def test_warming_up_runs_every_shape_that_requests_can_bring(tiny_cascades: TinyCascades, variant: VariantName) -> None:
    session, preprocess = opened(tiny_cascades, "screen", variant)
    settings = TextSettings(max_tokens=48, pad_token_id=0, inputs=("input_ids",))
    Runner(session, preprocess).warm_up(settings)
    sizes = (1,) if session.alone else WARM_UP_BATCH_SIZES
    shapes = {(size, length) for size in sizes for length in (8, 16, 32, 48)}
    assert set(session.ran) == shapes
    session.ran.clear()
    Runner(session, preprocess).warm_up(settings.model_copy(update={"long_texts": "windows"}))
    assert set(session.ran) == shapes | {(rows, 48) for rows in (2, 4, 8)}


def test_more_rows_than_by_default_run_at_once_where_that_is_wanted(tiny_cascades: TinyCascades) -> None:
    session, preprocess = opened(tiny_cascades, "expert", "cpu-fp32")
    items = [preprocess.item("pay")[0]] * 100
    logits = {most: Runner(session, preprocess, most).run(items) for most in (32, 128)}
    assert [rows for rows, _ in session.ran] == [32, 32, 32, 4, 100]
    np.testing.assert_allclose(logits[32], logits[128], atol=1e-4)
