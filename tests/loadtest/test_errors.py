"""One tree of errors, whose drawing is true, and which the command line catches as a whole."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from loadtest import __main__ as command
from loadtest import errors
from loadtest.errors import LoadTestError

TREE = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


def test_the_drawing_has_every_class() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"^(?:[│ ]*[├└]── )?(\w+Error)\b", errors.__doc__, flags=re.MULTILINE)
    assert drawn == ["LoadTestError", *(error.__name__ for error in TREE if error is not LoadTestError)]
    assert len(drawn) > 8


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_the_command_line_tells_each_in_a_sentence(
    error: type[LoadTestError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Any) -> int:
        raise error("x must be y, got z; write y")

    monkeypatch.setattr(command, "_check", fail)
    assert command.main(["check"]) == command.EXIT_WRONG
    assert capsys.readouterr().err == "error: x must be y, got z; write y\n"
