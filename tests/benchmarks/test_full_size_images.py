"""Image models of random weights in a store: the cascade opens, and escalates as it was made to. In small."""

from __future__ import annotations

import pytest

from benchmarks.full_size_images import RESNET_50, VARIANT, Made, Size, make_full_size
from benchmarks.photographs import ESCALATED, own
from benchmarks.published import Published
from loadtest.traffic.workload import image_files
from optimize.models.saved import load_model
from serving.cascade.modality import require_pair
from serving.model.head import head_of
from serving.model.image import ImageDecoder
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.conftest import TinyCascades

SMALL = Size(32, 40, (2, 2, 2, 2), (16, 32, 48, 64), 8)
FILES = image_files(None, seed=3)[:20]


@pytest.fixture(scope="module")
def made(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("full-size")
    return make_full_size(folder, tiny_cascades.home / "models", "tiny-image", FILES, ESCALATED, SMALL)


@pytest.fixture(scope="module")
def published(made: Made) -> Published:
    return Published("tiny-image", made.home / "models")


def test_the_measured_size_is_that_of_a_resnet_50() -> None:
    from transformers import ResNetConfig

    default = ResNetConfig()  # type: ignore[no-untyped-call]  # transformers declares no types here
    assert (list(RESNET_50.depths), list(RESNET_50.widths)) == (default.depths, default.hidden_sizes)
    assert (RESNET_50.embedding, RESNET_50.pixels) == (default.embedding_size, 224)


def test_the_three_belong_together_and_the_screen_is_the_smaller_one(published: Published) -> None:
    require_pair(published.screen, published.expert, published.point)
    assert published.screen.manifest.variants.keys() == published.expert.manifest.variants.keys() == {VARIANT}
    sizes = [each.manifest.variants[VARIANT].size_bytes for each in (published.screen, published.expert)]
    assert sizes[0] < 0.8 * sizes[1]


def test_as_many_photographs_escalate_as_were_asked(published: Published) -> None:
    decoder = preprocessor(published.screen)
    assert isinstance(decoder, ImageDecoder)
    items = [decoder.decode(data) for data in FILES]
    assert items[0].shape == (3, 32, 32)
    logits = Runner(Session(published.screen), decoder).run(items)
    labels, temperature = published.screen.manifest.labels, published.point.screen_temperature
    answers = head_of(published.screen.manifest).answers(logits, labels, temperature)
    confidences = [answer.confidence for answer in answers]
    assert len(set(confidences)) > len(FILES) // 2, "photographs differ"
    assert sum(each < published.point.threshold for each in confidences) == len(FILES) * ESCALATED


def test_the_checkpoint_is_the_expert_in_pytorch(made: Made, published: Published) -> None:
    import numpy as np
    import torch

    decoder = preprocessor(published.expert)
    assert isinstance(decoder, ImageDecoder)
    items = [decoder.decode(data) for data in FILES]
    with torch.inference_mode():
        wanted = load_model(made.teacher, "image")(torch.from_numpy(np.stack(items))).logits.numpy()
    got = Runner(Session(published.expert), decoder).run(items)
    differ = [(logits - logits.mean(axis=0)).ravel() for logits in (got, wanted)]
    assert np.corrcoef(*differ)[0, 1] > 0.8, "photographs differ in both alike; INT8 is coarse where weights are random"


def test_each_part_is_timed_alone(published: Published) -> None:
    parts = own(published, FILES, 0.05)
    assert min(parts.values()) > 0
    whole = parts["decode_ms"] + parts["screen_ms"] + ESCALATED * parts["expert_ms"]
    assert parts["sum_ms"] == pytest.approx(whole, abs=0.01)
