from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest

from optimize.errors import ScoreError
from optimize.score.parts import Parts, folder_of

MADE_FROM = {"input": "a", "cascade": ["b"], "options": {"scores": False}, "rows": 10}


def numbers(*values: int) -> pyarrow.Table:
    return pyarrow.table({"n": values})


def test_parts_are_kept_and_a_later_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.csv"
    with Parts.opened(out, MADE_FROM) as parts:
        parts.add(numbers(1, 2))
        parts.add(numbers(3))
    (folder_of(out) / "00000002.partial").write_bytes(b"of a process that was killed")
    with Parts.opened(out, MADE_FROM) as parts:
        assert parts.done == 2
        parts.add(numbers(4))
        assert [table["n"].to_pylist() for table in parts.tables()] == [[1, 2], [3], [4]]
        assert [schema.names for schema in parts.schemas()] == [["n"]] * 3
        parts.remove()
    assert not folder_of(out).exists()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("input", "z", "the input has changed"),
        ("cascade", ["z"], "another version of the cascade"),
        ("options", {"scores": True}, "the options are others"),
        ("rows", 20, "another version of Sieve"),
    ],
)
def test_parts_of_another_run_are_refused(tmp_path: Path, key: str, value: object, says: str) -> None:
    out = tmp_path / "out.csv"
    with Parts.opened(out, MADE_FROM) as parts:
        parts.add(numbers(1))
    with pytest.raises(ScoreError, match=rf"{says}.*; remove the folder to begin anew"):  # noqa: SIM117
        with Parts.opened(out, {**MADE_FROM, key: value}):
            pass
    with Parts.opened(out, MADE_FROM) as parts:
        assert parts.done == 1


def test_two_runs_at_a_time_are_kept_apart(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with Parts.opened(out, MADE_FROM), pytest.raises(ScoreError, match="another run scores into"):  # noqa: SIM117
        with Parts.opened(out, MADE_FROM):
            pass
