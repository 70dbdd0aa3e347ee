from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from optimize.data.inputs import decoded
from optimize.data.readers import HubData, read_rows
from optimize.errors import DataError
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder

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
