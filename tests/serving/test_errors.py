"""The error tree, as its module draws it."""

from __future__ import annotations

import inspect
import re

import pytest

from serving import errors
from serving.errors import InvalidInputError, SieveError, StageError, kind_of

CLASSES = {name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__}


def drawn() -> dict[str, str | None]:
    """Each class of the drawing and the class that it hangs on."""
    parents: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│ ├└─]*)(\w+Error)\s{2,}\S", line)
        if match:
            depth, name = len(match[1]), match[2]
            above = [entry for entry in above if entry[0] < depth]
            parents[name] = above[-1][1] if above else None
            above.append((depth, name))
    return parents


def test_the_drawing_has_every_class_in_its_place() -> None:
    assert drawn() == {name: cls.__base__.__name__ if cls is not SieveError else None for name, cls in CLASSES.items()}


def test_every_stage_error_has_a_reason_of_its_own() -> None:
    reasons = [cls.reason for cls in CLASSES.values() if issubclass(cls, StageError)]
    assert len(set(reasons)) == len(reasons)


def test_an_invalid_input_names_its_field_first() -> None:
    error = InvalidInputError("text", "must be a string")
    assert (error.field, str(error)) == ("text", "text: must be a string")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        (3, "a number"),
        (0.5, "a number"),
        ("secret", "a string"),
        (["secret"], "a list"),
        ({"secret": 1}, "an object"),
        (b"secret", "a bytes"),
    ],
)
def test_a_value_is_named_by_its_kind_alone(value: object, kind: str) -> None:
    assert kind_of(value) == kind
