"""What the verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from loadtest.errors import OptionError
from loadtest.verbs import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_PASSED,
    EXIT_WRONG,
    OUT,
    add_plan,
    make_folder,
)


def test_each_end_has_a_status_of_its_own() -> None:
    assert len({EXIT_PASSED, EXIT_FAILED, EXIT_WRONG, EXIT_INVALID, EXIT_INTERRUPTED}) == 5


def test_results_go_below_build() -> None:
    parser = argparse.ArgumentParser()
    add_plan(parser)
    assert parser.parse_args([]).out == OUT


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"must be a folder that can be written, got .*; name another"):
        make_folder(tmp_path / "file" / "b")
