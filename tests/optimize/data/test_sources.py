from __future__ import annotations

import pytest
from pydantic import ValidationError

from optimize.data.sources import FolderData, NpzData


def test_an_empty_value_means_none() -> None:
    config = NpzData(source="npz", path="images.npz", holdout_keys=[], classes_key="")
    assert config.holdout_keys is None
    assert config.classes_key is None


def test_a_key_that_no_source_has_is_refused() -> None:
    with pytest.raises(ValidationError, match="text_column"):
        FolderData(source="folder", train="images", text_column="text")
