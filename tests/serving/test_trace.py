"""What a `traceparent` says, and how a share of the requests is drawn."""

from __future__ import annotations

import pytest

from serving.trace import begin_trace, read_traceparent


@pytest.mark.parametrize(
    ("header", "got"),
    [
        (None, None),
        ("", None),
        ("00-" + "0" * 32 + "-" + "1" * 16 + "-01", None),
        ("00-" + "1" * 32 + "-" + "0" * 16 + "-01", None),
        ("ff-" + "1" * 32 + "-" + "1" * 16 + "-01", None),
        ("00-" + "G" * 32 + "-" + "1" * 16 + "-01", None),
        ("00-" + "1" * 32 + "-" + "2" * 16 + "-01", (int("1" * 32, 16), int("2" * 16, 16), True)),
        ("00-" + "1" * 32 + "-" + "2" * 16 + "-00", (int("1" * 32, 16), int("2" * 16, 16), False)),
        ("cc-" + "1" * 32 + "-" + "2" * 16 + "-01-later", (int("1" * 32, 16), int("2" * 16, 16), True)),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(header: str | None, got: tuple[int, int, bool] | None) -> None:
    assert read_traceparent(header) == got


def test_the_drawn_share_of_traces_is_the_stated_one() -> None:
    drawn = sum(begin_trace(None, share=0.3).sampled for _ in range(20_000)) / 20_000
    assert abs(drawn - 0.3) < 0.02
    assert not any(begin_trace(None, share=0.0).sampled for _ in range(1000))
    assert all(begin_trace(None, share=1.0).sampled for _ in range(1000))
