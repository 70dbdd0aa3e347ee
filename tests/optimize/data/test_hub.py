from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
from PIL import Image

from optimize.data.inputs import decoded
from optimize.data.readers import HubData, read_rows
from optimize.errors import DataError
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder
from serving.model.text import TextPair

TABLE = pandas.DataFrame(
    {"text": ['say "hi", now', "tab\there", "Grüße 💳", "NA"], "label": ["0", "1", "0", "1"], "other": [1, 2, 3, 4]}
)


def read(config: Any, root: Path = Path()) -> Any:
    return read_rows(config, root=root, seed=0)


def test_a_hub_data_set_from_a_local_folder(tmp_path: Path) -> None:
    folder = tmp_path / "someone" / "things"
    folder.mkdir(parents=True)
    for name, size in (("train", 4), ("validation", 2)):
        TABLE[:size].to_parquet(folder / f"{name}-00000-of-00001.parquet")
    got, holdout = read(HubData(source="hub", id="someone/things"), tmp_path)
    assert got.inputs == TABLE["text"].tolist()
    assert got.labels == ["0", "1", "0", "1"]
    assert len(holdout.inputs) == 2
    pairs, _ = read(HubData(source="hub", id="someone/things", text_pair_column="text"), tmp_path)
    assert pairs.inputs == [TextPair(text, text) for text in TABLE["text"]]
    with pytest.raises(DataError, match="no column 'sentence'; it has text, label, other"):
        read(HubData(source="hub", id="someone/things", input_column="sentence"), tmp_path)
    with pytest.raises(DataError, match="no split 'dev'; it has train, validation"):
        read(HubData(source="hub", id="someone/things", holdout="dev"), tmp_path)


def test_images_of_a_hub_data_set_are_decoded_as_a_request_is(tmp_path: Path) -> None:
    """Transparent pixels among them, whose own colour nobody sees."""
    folder = tmp_path / "someone" / "pictures" / "train"
    for label in ("clear", "red"):
        (folder / label).mkdir(parents=True)
        for index in range(2):
            colour = (255, 0, 0, 0 if label == "clear" else 255)
            Image.new("RGBA", (4 + index, 4), colour).save(folder / label / f"{index}.png")
    config = HubData(source="hub", id="someone/pictures", input_column="image", holdout="")
    got, _ = read(config, tmp_path)
    assert got.kind == "image"
    assert got.labels == ["clear", "clear", "red", "red"]
    decoder = ImageDecoder(ImageSettings(width=2, height=2, mean=(0, 0, 0), std=(1, 1, 1)))
    for image, (right, file) in zip(
        got.inputs, zip(got.labels, sorted(folder.glob("*/*.png")), strict=True), strict=True
    ):
        pixels = decoded(image, decoder)
        assert pixels[:, 0, 0].tolist() == ([1, 1, 1] if right == "clear" else [1, 0, 0])
        np.testing.assert_array_equal(pixels, decoder.decode(file.read_bytes()))


def test_a_row_without_a_label_does_not_get_the_last_one(tmp_path: Path) -> None:
    """The hub's test splits have -1 for every label."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    stored = datasets.Dataset.from_dict({"text": ["a", "b", None], "label": [1, -1, 0]}, features=features)
    (tmp_path / "things").mkdir()
    stored.to_parquet(tmp_path / "things" / "train-00000-of-00001.parquet")
    config = {"source": "hub", "id": "things", "holdout": ""}
    says = r"2 of 3 rows cannot be used: 1 with no 'label' \(row 2 of train\), 1 with no 'text' \(row 3 of train\)"
    with pytest.raises(DataError, match=says):
        read(HubData(**config), tmp_path)
    got, _ = read(HubData(**config, bad_rows="leave-out"), tmp_path)
    assert got.inputs == ["a"]
    assert got.labels == ["yes"]
    assert got.classes == ("no", "yes")
