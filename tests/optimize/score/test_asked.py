from __future__ import annotations

import pytest

from optimize.errors import ScoreError
from optimize.score.asked import Asked


@pytest.mark.parametrize(
    ("asked", "kind", "pairs", "columns"),
    [
        (Asked(), "text", False, ("text",)),
        (Asked(text_column="body"), "text", False, ("body",)),
        (Asked(text_column="premise"), "text", True, ("premise", "text_pair")),
        (Asked(text_pair_column="hypothesis"), "text", True, ("text", "hypothesis")),
        (Asked(image_column="photo"), "image", False, ("photo",)),
        (Asked(), "image", False, ("image",)),
    ],
)
def test_the_columns_that_a_cascade_reads(asked: Asked, kind: str, pairs: bool, columns: tuple[str, ...]) -> None:
    assert asked.input_columns(kind, pairs=pairs) == columns


@pytest.mark.parametrize(
    ("asked", "kind", "says"),
    [
        (Asked(image_column="photo"), "text", "--image-column is for cascades of images"),
        (Asked(text_pair_column="other"), "text", "--text-pair-column is for cascades of pairs"),
        (Asked(text_column="body"), "image", "--text-column is for cascades of texts"),
    ],
)
def test_an_option_that_a_cascade_has_no_use_for_is_refused(asked: Asked, kind: str, says: str) -> None:
    with pytest.raises(ScoreError, match=says):
        asked.input_columns(kind, pairs=False)
