from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from optimize.data.sources import FilesData, FolderData, NpzData


def test_an_empty_value_means_none() -> None:
    config = NpzData(source="npz", path="images.npz", holdout_keys=[], classes_key="")
    assert config.holdout_keys is None
    assert config.classes_key is None


def test_a_key_that_no_source_has_is_refused() -> None:
    with pytest.raises(ValidationError, match="text_column"):
        FolderData(source="folder", train="images", text_column="text")


def test_a_recipe_without_the_newer_keys_has_the_digest_that_it_had() -> None:
    config = FilesData(source="files", train="rows.csv")
    assert set(config.model_dump()) == {
        *("labels", "selection_share", "certification_share", "holdout_share", "selection_from", "calibration_size"),
        *("limit", "source", "train", "holdout", "text_column", "label_column"),
    }
    other = FilesData(source="files", train="rows.csv", bad_rows="leave-out", min_rows_per_label=6, encoding="cp1252")
    assert set(other.model_dump()) - set(config.model_dump()) == {"bad_rows", "min_rows_per_label", "encoding"}


def test_a_rule_for_labels_needs_labels_of_the_data() -> None:
    with pytest.raises(ValidationError, match="rare_labels: a rule for labels of the data"):
        FilesData(source="files", train=Path("a.csv"), labels="teacher", rare_labels="other")
