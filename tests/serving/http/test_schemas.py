"""The schemas of bodies: what they allow the service takes, as far as a schema can say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from serving.cascade.deferral import OperatingPoint, Promise
from serving.errors import InvalidInputError
from serving.http import schemas
from serving.http.schemas import Budget, ClassifyText, ClassifyTextPair, ClassifyTexts, ImageForm
from serving.load.budget import MAX_MS, check_budget_ms
from serving.model.text import MAX_CHARACTERS, check_text

TEXTS = ["a", " a ", "", " ", "\t\n", "\u2003", "\u001c", "\u0085", "\x00", "é", "💳", "x" * MAX_CHARACTERS]
TEXTS += ["x" * (MAX_CHARACTERS + 1), "💳" * MAX_CHARACTERS]


def takes(model: type[BaseModel], **body: Any) -> bool:
    """Whether a schema allows a body. Its pattern is looked at as JSON Schema does, which Python's `re` can."""
    try:
        model.model_validate(body)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:3]))
def test_a_text_is_allowed_where_it_is_taken(text: str) -> None:
    try:
        taken = bool(check_text(text))
    except InvalidInputError:
        taken = False
    assert (takes(ClassifyText, text=text) and bool(re.search(schemas.VISIBLE, text))) == taken


@pytest.mark.parametrize("value", [0, -1, 1e-9, 50, MAX_MS, MAX_MS + 1, float("inf"), float("nan")])
def test_a_budget_is_allowed_where_it_is_taken(value: float) -> None:
    try:
        taken = bool(check_budget_ms(value))
    except InvalidInputError:
        taken = False
    try:
        allowed = bool(Budget(value))
    except ValidationError:
        allowed = False
    assert allowed == taken


def test_no_other_keys_are_allowed() -> None:
    assert takes(ClassifyText, text="a", budget_ms=None)
    assert not takes(ClassifyText, text="a", butget_ms=5)
    assert not takes(ClassifyTexts, texts=[])
    assert not takes(ClassifyTextPair, text="a")
    assert not takes(ImageForm, image=b"x", budget_ms=None), "a form has no null"


def test_what_models_says_of_a_point_is_all_but_its_long_lists() -> None:
    said = set(schemas.ServedPoint.model_fields)
    assert said == {"tag", "applies", "why_not", *OperatingPoint.model_fields} - {"reference", "certified_thresholds"}
    assert set(schemas.StatedPromise.model_fields) == {"statement", *Promise.model_fields}
