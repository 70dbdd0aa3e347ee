"""How a benchmark ends."""

from __future__ import annotations

import pytest

from benchmarks.command import end_with
from loadtest.errors import NotStartedError


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_is_that_of_the_benchmark(status: int) -> None:
    with pytest.raises(SystemExit) as caught:
        end_with(lambda: status)
    assert caught.value.code == status


def test_an_error_that_a_user_can_put_right_is_its_text() -> None:
    def fail() -> int:
        raise NotStartedError("the server ended with status 1: no models")

    with pytest.raises(SystemExit) as caught:
        end_with(fail)
    assert caught.value.code == "the server ended with status 1: no models"
