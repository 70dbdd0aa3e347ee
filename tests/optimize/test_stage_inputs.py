from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optimize.data.splits import Split, Splits
from optimize.errors import StepError
from optimize.recipe import Recipe
from optimize.stage_inputs import StageInputs
from serving.model.artifact import ImageSettings, TextSettings
from tests.encoders import LABELS, POSITIONS, SENTENCES, saved_encoder

IMAGE = ImageSettings(width=8, height=8, mode="L", mean=(0.5,), std=(0.5,))


def split(name: str, inputs: list[object]) -> Split:
    targets = np.arange(len(inputs)) % 3
    return Split(name, inputs, targets, tuple(map(str, targets)), frozenset())  # type: ignore[arg-type]


def inputs_of(kind: str, folder: Path, *, max_tokens: int = POSITIONS) -> StageInputs:
    table = {"name": "a", "task": kind, "text": {"max_tokens": max_tokens}, "image": IMAGE if kind == "image" else None}
    table |= {"checkpoint": {"source": "folder", "path": "x"}, "data": {"source": "files", "train": "x.csv"}}
    recipe = Recipe.model_validate({**table, "expert": [{"step": "export"}], "screen": [{"step": "export"}]})
    items = SENTENCES[:6] if kind == "text" else [np.zeros((8, 8, 3), np.uint8)] * 6
    parts = [split(name, list(items)) for name in ("train", "calibration", "selection", "certification", "holdout")]
    splits = Splits(kind, LABELS, *parts, source="x", synthetic=False)  # type: ignore[arg-type]
    return StageInputs(
        recipe, keep=folder.joinpath, image=lambda: recipe.image, labels=lambda: LABELS, splits=lambda: splits
    )


def test_texts_are_prepared_by_each_checkpoints_tokeniser(tmp_path: Path) -> None:
    inputs = inputs_of("text", tmp_path)
    folders = [saved_encoder(kind, tmp_path / kind) for kind in ("bert", "roberta", "electra")]
    bert, roberta, electra = map(inputs.preparer, folders)
    assert inputs.preparer(folders[0]) is bert
    assert [preparer.settings.pad_token_id for preparer in (bert, roberta)] == [0, 1]  # type: ignore[union-attr]
    ours, theirs = (inputs.named(preparer, "selection") for preparer in (bert, roberta))
    assert [item.tolist() for item in ours.items] != [item.tolist() for item in theirs.items]
    assert inputs.named(electra, "selection") is ours, "the same tokeniser and settings: the same arrays"


def test_images_are_prepared_alike_wherever_a_student_comes_from(tmp_path: Path) -> None:
    inputs = inputs_of("image", tmp_path)
    one, other = inputs.preparer(tmp_path / "one"), inputs.preparer(tmp_path / "other", of_student=True)
    assert one.settings == other.settings == IMAGE
    assert inputs.named(one, "train") is inputs.named(other, "train")


def test_the_holdout_is_not_had_by_its_name(tmp_path: Path) -> None:
    inputs = inputs_of("text", tmp_path)
    with pytest.raises(StepError, match="for the reported figures alone"):
        inputs.named(inputs.preparer(saved_encoder("bert", tmp_path)), "holdout")


def test_a_student_reads_no_more_than_it_knows_and_a_teacher_must_know_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved_encoder("roberta", tmp_path)
    with pytest.raises(StepError, match=f"max_tokens must be at most {POSITIONS}, the positions"):
        inputs_of("text", tmp_path, max_tokens=50).preparer(folder)
    settings = inputs_of("text", tmp_path, max_tokens=50).preparer(folder, of_student=True).settings
    assert isinstance(settings, TextSettings)
    assert settings.max_tokens == POSITIONS
    assert "reads 40 tokens of a text where the recipe has max_tokens = 50" in capsys.readouterr().out
