"""The number of a version, and what counts as the same inputs and outputs."""

from __future__ import annotations

from typing import get_args

import pytest

from serving.expert.graph_form import NUMBERS, TensorForm, version_of
from serving.model.artifact import VariantName

DIGEST = "0123456789abcdef" * 4


def test_every_variant_has_a_number_of_its_own() -> None:
    assert set(NUMBERS) == set(get_args(VariantName))
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    assert all(0 < number < 10 for number in NUMBERS.values())


def test_a_version_says_digest_and_variant() -> None:
    assert version_of(DIGEST, "cpu-int8") == f"{int('0123456789ab', 16)}2"
    assert version_of(DIGEST, "cpu-fp32") != version_of(DIGEST, "cpu-int8")
    assert version_of("0" * 64, "cpu-fp32") == "1"


def test_the_largest_version_is_exact_also_where_numbers_are_floats() -> None:
    assert int(version_of("f" * 64, "cpu-int8-openvino")) < 2**53


FORM = TensorForm("pixel_values", "FP32", (-1, 3, 32, 32))


@pytest.mark.parametrize(
    ("shape", "same"),
    [
        ((-1, 3, 32, 32), True),
        ((-1, -1, -1, -1), True),
        ((-1, 3, -1, 32), True),
        ((1, 3, 32, 32), False),
        ((-1, 3, 32, 64), False),
        ((-1, 3, 32), False),
        ((), False),
    ],
    ids=str,
)
def test_sizes_are_the_same_or_any(shape: tuple[int, ...], same: bool) -> None:
    assert FORM.takes(TensorForm("pixel_values", "FP32", shape)) is same
    assert not FORM.takes(TensorForm("pixels", "FP32", shape))
    assert not FORM.takes(TensorForm("pixel_values", "FP16", shape))
