from __future__ import annotations

from pathlib import Path

from optimize.build import Build
from optimize.recipe import Recipe
from optimize.start.rows import read, settings_for
from optimize.start.source import source_of
from tests.optimize.start.brought import ROWS, rows, texts, write_csv

STEPS = [{"step": "export"}]


def test_tidy_rows_need_no_settings(tmp_path: Path) -> None:
    source, train, holdout = read(source_of(texts("csv", tmp_path)))
    assert settings_for(source, train, holdout) == {}
    assert "bad_rows" not in source.table


def test_untidy_rows_get_the_settings_with_which_a_run_takes_them(tmp_path: Path) -> None:
    source, train, holdout = read(source_of(texts("untidy", tmp_path)))
    settings = settings_for(source, train, holdout)
    assert settings == {"label_variants": "merge", "rare_labels": "leave-out"}
    data = {**source.table, **settings}
    assert data["bad_rows"] == "leave-out"
    described = {"name": "x", "task": "text", "checkpoint": {"source": "package", "package": "x"}, "data": data}
    recipe = Recipe.model_validate({**described, "expert": STEPS, "screen": STEPS})
    splits = Build(recipe, root=Path(), folder=tmp_path / "build").splits
    assert splits.labels == ("a", "b", "c")
    assert sum(len(split) for split in splits.all) == ROWS


def test_contradictory_rows_raise_the_share_that_may_contradict(tmp_path: Path) -> None:
    lines = [(f"text number {'x' * (i // 2)}", "ab"[i % 2]) for i in range(40)]
    source, train, holdout = read(source_of(write_csv(tmp_path / "rows.csv", ("text", "label"), lines)))
    assert settings_for(source, train, holdout) == {"max_contradictory_share": 1.0}


def test_a_column_of_a_label_that_no_row_has_is_left_out(tmp_path: Path) -> None:
    lines = [(text, int(i % 2), int(i % 3 == 0), 0) for i, (text, _) in enumerate(rows(60))]
    path = write_csv(tmp_path / "rows.csv", ("text", "fee", "fraud", "rare"), lines)
    source, train, holdout = read(source_of(path))
    assert train.classes == ("fee", "fraud", "rare")
    settings = settings_for(source, train, holdout)
    assert settings == {"rare_labels": "leave-out"}
    described = {"name": "x", "task": "text", "checkpoint": {"source": "package", "package": "x"}}
    data = {**source.table, **settings}
    recipe = Recipe.model_validate({**described, "data": data, "expert": STEPS, "screen": STEPS})
    splits = Build(recipe, root=Path(), folder=tmp_path / "build").splits
    assert splits.labels == ("fee", "fraud")
    assert splits.multi_label
