from __future__ import annotations

from pathlib import Path

import pytest

from optimize.data.rows import existing
from optimize.errors import DataError


def test_a_path_starts_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    assert existing(Path("rows.csv"), tmp_path) == tmp_path / "rows.csv"
    with pytest.raises(DataError, match=r"there is no such file or folder; give .* --root"):
        existing(Path("gone.csv"), tmp_path)
