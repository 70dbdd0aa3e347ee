"""From the content of a request to the items of both stages, and the shapes to warm up with."""

from __future__ import annotations

import numpy as np
import pytest

from serving.errors import MalformedError
from serving.load.forecast import step
from serving.model.artifact import Artifact, ImageSettings, TextSettings
from serving.model.image import ImageDecoder
from serving.model.image_header import read_header
from serving.model.preprocess import (
    check_items,
    example_items,
    example_windows,
    items_of,
    preparing_bytes,
    preprocessor,
    same_preprocessing,
)
from serving.model.text import TextEncoder
from serving.model.windows import MOST_WINDOWS, length_of
from tests.conftest import TinyCascades
from tests.serving.model.test_image import encoded, waves


def test_an_image_is_decoded_once_as_large_as_the_larger_stage_needs_it() -> None:
    small, large = (
        ImageDecoder(ImageSettings(width=side, height=side, mean=(0, 0, 0), std=(1, 1, 1))) for side in (16, 48)
    )
    file = encoded(waves(400), "JPEG")
    item, expert_item, truncated = items_of(small, large, read_header(file))
    assert item.shape == (3, 16, 16)
    np.testing.assert_array_equal(expert_item, large.decode(file))
    np.testing.assert_allclose(item, small.decode(file), atol=0.02)
    assert not truncated


TEXTS = TextSettings(max_tokens=4, pad_token_id=0, inputs=("input_ids",))
IMAGES = ImageSettings(width=2, height=3, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.mark.parametrize("settings", [TEXTS, IMAGES], ids=["text", "image"])
def test_items_of_another_shape_or_type_are_refused(settings: TextSettings | ImageSettings) -> None:
    sound = example_items(settings)
    check_items(settings, sound)
    for bad in (
        sound[0].astype(np.float64),
        sound[0][None],
        sound[0][:0],
        np.zeros((), dtype=sound[0].dtype),
        np.zeros(5, dtype=np.int64),
        np.zeros((3, 2, 3), dtype=np.float32),
    ):
        with pytest.raises(MalformedError, match=r"body: must hold items of (int64 of 1 to 4 token ids|float32)"):
            check_items(settings, [*sound, bad])


def test_an_image_is_weighed_as_it_is_decoded_for_the_larger_stage() -> None:
    small, large = (
        ImageDecoder(ImageSettings(width=side, height=side, mean=(0, 0, 0), std=(1, 1, 1))) for side in (16, 512)
    )
    file = encoded(waves(2400), "JPEG")
    alone, both = preparing_bytes(small, small, read_header(file)), preparing_bytes(small, large, read_header(file))
    assert alone < 300 * 300 * 4 * 6 < 1200 * 1200 * 4 < both
    assert preparing_bytes(small, large, "a text") == 0


def test_stages_of_the_same_preprocessing_share_one_item() -> None:
    decoder = ImageDecoder(ImageSettings(width=16, height=16, mean=(0, 0, 0), std=(1, 1, 1)))
    item, expert_item, _ = items_of(decoder, decoder, read_header(encoded(waves(64), "JPEG")))
    assert item is expert_item


def test_texts_are_warmed_up_at_every_length_that_is_timed_and_at_the_longest() -> None:
    settings = TextSettings(max_tokens=48, pad_token_id=7, inputs=("input_ids",))
    items = example_items(settings)
    assert [len(item) for item in items] == [8, 16, 32, 48]
    assert {int(token) for item in items for token in item} == {7}
    assert [len(item) for item in example_items(settings.model_copy(update={"max_tokens": 32}))] == [8, 16, 32]


def test_windows_are_items_where_the_settings_ask_for_them() -> None:
    windows = TEXTS.model_copy(update={"long_texts": "windows"})
    check_items(windows, [*example_items(windows), *example_windows(windows)])
    for settings, shape in ((TEXTS, (2, 4)), (windows, (1, 4)), (windows, (9, 4)), (windows, (2, 3))):
        with pytest.raises(MalformedError, match="body: must hold items of int64 of 1 to 4 token ids"):
            check_items(settings, [np.zeros(shape, dtype=np.int64)])


def test_windows_are_timed_at_every_power_of_two() -> None:
    settings = TextSettings(max_tokens=48, pad_token_id=7, inputs=("input_ids",), long_texts="windows")
    items = example_windows(settings)
    assert [item.shape for item in items] == [(2, 48), (4, 48), (8, 48)]
    lengths = {step(length_of(item)) for item in items}
    assert lengths == {step(windows * 48) for windows in range(2, MOST_WINDOWS + 1)}
    assert example_windows(settings.model_copy(update={"long_texts": "cut"})) == []
    assert example_windows(ImageSettings(width=5, height=4, mean=(0, 0, 0), std=(1, 1, 1))) == []


def test_an_image_is_warmed_up_in_its_one_shape() -> None:
    settings = ImageSettings(width=5, height=4, mode="L", mean=(0.5,), std=(0.5,))
    (item,) = example_items(settings)
    assert (item.shape, item.dtype) == ((1, 4, 5), np.float32)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_stages_share_preprocessing_where_settings_and_files_are_the_same(
    tiny_cascades: TinyCascades, kind: str
) -> None:
    screen, expert = (Artifact.open(tiny_cascades.artifact(f"tiny-{kind}", role)) for role in ("screen", "expert"))
    assert same_preprocessing(screen, expert)
    changed = expert.manifest.settings.model_copy(
        update={"max_tokens": 3} if kind == "text" else {"resample": "nearest"}
    )
    other = Artifact(expert.folder, expert.manifest.model_copy(update={"settings": changed}))
    assert not same_preprocessing(screen, other)


def test_texts_of_another_tokeniser_are_prepared_twice(tiny_cascades: TinyCascades) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "screen"))
    files = {**artifact.manifest.files, "tokenizer.json": "0" * 64}
    other = Artifact(artifact.folder, artifact.manifest.model_copy(update={"files": files}))
    assert not same_preprocessing(artifact, other)
    ours, theirs = preprocessor(artifact), preprocessor(other)
    item, expert_item, _ = items_of(ours, theirs, "where is my card")
    assert item is not expert_item
    np.testing.assert_array_equal(item, expert_item)
    item, expert_item, _ = items_of(ours, ours, "where is my card")
    assert item is expert_item


@pytest.mark.parametrize("shorter", ["screen", "expert"])
def test_a_text_is_truncated_where_one_stage_does_not_see_all_of_it(tiny_cascades: TinyCascades, shorter: str) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "screen"))
    settings = artifact.manifest.settings.model_copy(update={"max_tokens": 8})
    short, long = TextEncoder(settings, artifact.folder), preprocessor(artifact)
    pair = (short, long) if shorter == "screen" else (long, short)
    assert [items_of(*pair, text).truncated for text in ("my card", "my card " * 8)] == [False, True]
    item, expert_item, _ = items_of(*pair, "my card " * 8)
    assert min(map(len, (item, expert_item))) == 8 < max(map(len, (item, expert_item)))
