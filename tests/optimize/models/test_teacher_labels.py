from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimize.build import Build
from optimize.data.rows import Rows
from optimize.errors import StepError
from optimize.models.checkpoint import FreshCifarResNet
from optimize.models.teacher_labels import own_labels, teacher_labels
from optimize.recipe import Recipe
from serving.model.head import SOFTMAX
from tests.optimize.knowing import LABELS, knowing_bert


def build_of(folder: Path, **data: Any) -> Build:
    recipe = {
        "name": "unlabelled",
        "task": "text",
        "checkpoint": {"source": "folder", "path": folder / "bert"},
        "data": {"source": "files", "train": "log.txt", "labels": "teacher", "calibration_size": 8, **data},
        "text": {"max_tokens": 48},
        "expert": [{"step": "export"}],
        "screen": [{"step": "export"}],
    }
    return Build(Recipe.model_validate(recipe), root=folder, folder=folder / "build")


def test_rows_get_the_answers_of_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = knowing_bert(tmp_path / "bert", rows=120)
    (tmp_path / "log.txt").write_text("\n".join(text for text, _ in rows))
    splits = build_of(tmp_path).splits
    known = dict(rows)
    assert splits.labels == LABELS
    for split in splits.all:
        assert [LABELS[target] for target in split.targets] == [known[text] for text in split.inputs]

    def again(*_: Any) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr("optimize.models.teacher_labels._answers", again)
    assert build_of(tmp_path).splits.describe() == splits.describe()
    (tmp_path / "bert" / "another file").write_text("so it is another teacher")
    with pytest.raises(AssertionError, match="asked again"):
        _ = build_of(tmp_path).splits
    (tmp_path / "bert" / "another file").unlink()
    build = build_of(tmp_path)
    several = build.recipe.data.model_copy(update={"problem": "multi-label"})
    build.recipe = build.recipe.model_copy(update={"data": several})
    with pytest.raises(AssertionError, match="asked again"):
        _ = build.splits


def test_rows_of_another_modality_are_refused(tmp_path: Path) -> None:
    rows = Rows("image", [], [], [], "photos")
    with pytest.raises(StepError, match="the recipe is for text, and photos holds image"):
        teacher_labels(
            None,  # type: ignore[arg-type]  # neither is looked at
            "text",
            rows,
            None,  # type: ignore[arg-type]
            LABELS,
            SOFTMAX,
            tmp_path.joinpath,
        )


def test_a_checkpoint_must_name_its_labels() -> None:
    with pytest.raises(StepError, match='needs a checkpoint that names its labels, and source = "fresh-cifar-resnet"'):
        own_labels(FreshCifarResNet(source="fresh-cifar-resnet"), Path())
