from __future__ import annotations

import asyncio
import io
import random
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from optimize.score.scorer import FAILED, Content, ImageBytes, Scorer, Unusable
from serving.arrays import Array, Logits
from serving.cascade.cascade import ModelCascade, StageAnswer
from serving.cascade.modality import StoredCascade
from serving.errors import InvalidInputError
from serving.expert.call import Escalated
from serving.load.budget import Budget
from serving.model.head import head_of
from serving.model.image_header import read_header
from serving.model.pairs import check_pair
from serving.model.preprocess import StageItems, items_of, preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from serving.timings import Timings
from tests.optimize.score.tiny_models import LABELS, WORDS, tiny_cascade


def png(value: int, size: int = 9) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (size, size), (value,) * 3).save(held, "PNG")
    return held.getvalue()


def texts(count: int) -> list[str]:
    rng = random.Random(1)
    return [" ".join(rng.choices([*WORDS, "day", "word"], k=rng.randint(1, 14))) for _ in range(count)]


def served(cascade: StoredCascade, contents: Sequence[Any]) -> list[StageAnswer]:
    """The answers of the service's own cascade, with an expert in this process."""
    screen, expert, point = cascade.screen.artifact, cascade.expert.artifact, cascade.point.point
    ours, theirs = preprocessor(screen), preprocessor(expert)
    expert_run = Runner(Session(expert), theirs).run

    async def ask(items: Sequence[Array], *_: Any) -> Escalated:
        return Escalated(logits=expert_run(items), queue_ms=0.0, hop_ms=0.0, expert_ms=0.0)

    serving = ModelCascade(
        labels=screen.manifest.labels,
        screen=Runner(Session(screen, point.screen_variant), ours).run,
        screen_head=head_of(screen.manifest),
        expert_head=head_of(expert.manifest),
        expert=ask,
        point=point,
    )

    async def answer(items: StageItems) -> StageAnswer:
        budget = Budget(time.monotonic(), 60_000)
        return (await serving.classify([items.screen], [items.expert], budget, Timings()))[0]

    return [asyncio.run(answer(items_of(ours, theirs, content))) for content in contents]


@pytest.mark.parametrize("changed", [{}, {"alone": True}, {"thresholds": (0.5, 0.5, 0.5)}])
def test_answers_to_texts_are_those_of_the_service(tmp_path: Path, changed: dict[str, Any]) -> None:
    cascade = tiny_cascade(tmp_path / "cascade", **changed)
    same_as_served(cascade, texts(60), served(cascade, texts(60)))


def test_answers_to_pairs_are_those_of_the_service(tmp_path: Path) -> None:
    cascade = tiny_cascade(tmp_path / "cascade", settings={"pairs": True})
    pairs = [check_pair(*two) for two in zip(texts(80), texts(160)[80:], strict=True)]
    same_as_served(cascade, pairs, served(cascade, pairs))


def test_answers_to_long_texts_in_windows_are_those_of_the_service(tmp_path: Path) -> None:
    cascade = tiny_cascade(tmp_path / "cascade", settings={"long_texts": "windows"})
    long = [f"{one} {other}" for one, other in zip(texts(60), texts(120)[60:], strict=True)]
    same_as_served(cascade, long, served(cascade, long))


def test_answers_to_images_are_those_of_the_service(tmp_path: Path) -> None:
    cascade = tiny_cascade(tmp_path / "cascade", "image")
    files = [png(value) for value in range(0, 256, 12)]
    contents = [ImageBytes("file", file) for file in files]
    same_as_served(cascade, contents, served(cascade, [read_header(file) for file in files]))


def same_as_served(cascade: StoredCascade, contents: Sequence[Content], theirs: Sequence[StageAnswer]) -> None:
    scorer = Scorer(cascade, threads=2)
    ours = scorer.score(contents)
    scorer.close()
    for mine, service in zip(ours, theirs, strict=True):
        assert service.degraded is None
        assert mine.error is None
        assert mine.answer is not None
        assert service.answer is not None
        assert (mine.answer.label, mine.stage, mine.escalated) == (
            service.answer.label,
            service.stage,
            service.escalated,
        )
        assert mine.answer.scores == pytest.approx(service.answer.scores, abs=1e-6)
        assert mine.answer.confidence == pytest.approx(service.answer.confidence, abs=1e-6)
    assert len({mine.stage for mine in ours}) == 2


def test_rows_that_cannot_be_used_stay_in_their_places(tmp_path: Path) -> None:
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("bright.png", png(255))
    (tmp_path / "dark.png").write_bytes(png(0))
    scorer = Scorer(tiny_cascade(tmp_path / "cascade", "image"), threads=2)
    scored = scorer.score(
        [
            ImageBytes("file", zipfile.Path(archive, "bright.png")),
            Unusable("no image"),
            ImageBytes("file", b"junk"),
            ImageBytes("file", tmp_path / "nowhere.png"),
            ImageBytes("file", tmp_path / "dark.png"),
        ]
    )
    assert [each.answer and each.answer.label for each in scored] == ["good", None, None, None, "bad"]
    assert [each.error for each in scored][:2] == [None, "no image"]
    with pytest.raises(InvalidInputError) as refused:
        read_header(b"junk")
    assert scored[2].error == str(refused.value)
    assert "FileNotFoundError" in (scored[3].error or "")
    assert scorer.score([]) == []
    assert scorer.score([Unusable("nothing")])[0].error == "nothing"


def test_an_item_on_which_the_expert_fails_has_no_answer_of_the_screen(tmp_path: Path) -> None:
    scorer = Scorer(tiny_cascade(tmp_path / "cascade"), threads=1)
    run = scorer.expert.run

    def failing(items: Sequence[Array]) -> Logits:
        logits = run(items)
        logits[[len(item) == 3 for item in items]] = np.nan
        return logits

    scorer.expert.run = failing
    scored = scorer.score(["fine", "fine plain awful", "superb"])
    assert [each.error for each in scored] == [None, FAILED, None]
    assert [each.escalated for each in scored] == [True, True, False]
    assert scored[1].answer is None


def test_a_cut_text_is_said_and_the_promise_is_known(tmp_path: Path) -> None:
    scorer = Scorer(tiny_cascade(tmp_path / "cascade"), threads=1)
    assert [each.truncated for each in scorer.score(["superb", "superb " * 9])] == [False, True]
    assert scorer.labels == LABELS
    assert [sentence.partition(" has no golden")[0] for sentence in scorer.against_promise] == [
        "tiny-screen",
        "tiny-expert",
    ]


def test_each_stage_reads_a_text_with_its_own_tokeniser(tmp_path: Path) -> None:
    cascade = tiny_cascade(tmp_path / "cascade", expert={"settings": {"max_tokens": 2}})
    (scored,) = Scorer(cascade, threads=1).score(["fine fine awful awful"])
    assert scored.answer is not None
    assert (scored.answer.label, scored.truncated) == ("good", True)
