"""Which cascade answers: by its name, or the first of its kind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from serving.cascade.served import Served
from serving.errors import NotServedError


def cascade(kind: str, name: str) -> Any:
    return SimpleNamespace(kind=kind, name=name)


A, B, C = cascade("text", "a"), cascade("text", "b"), cascade("image", "c")


def test_the_first_of_a_kind_answers_requests_that_name_none() -> None:
    served = Served([A, B, C])
    assert [served.find("text", None), served.find("image", None)] == [A, C] == served.defaults
    assert [served.find("text", name) for name in ("a", "b")] == [A, B]
    assert list(served) == [A, B, C]
    assert (served.names("text"), served.names("image")) == (["a", "b"], ["c"])


def test_a_name_of_the_other_kind_is_none() -> None:
    with pytest.raises(NotServedError, match=r"^no cascade for images of this name is served here; .* these: c$"):
        Served([A, B, C]).find("image", "a")


@pytest.mark.parametrize(("kind", "article"), [("text", "a"), ("image", "an")])
def test_a_kind_without_a_cascade_is_told_with_the_argument(kind: str, article: str) -> None:
    with pytest.raises(NotServedError, match=f"without {article} {kind} cascade; start it with --arg {kind}=NAME"):
        Served().find(kind, "a")
