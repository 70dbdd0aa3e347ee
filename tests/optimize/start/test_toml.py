from __future__ import annotations

import tomllib

import pytest

from optimize.start.toml import WIDTH, Table, toml_value, written


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        'with "quotes"',
        "C:\\data\\new",
        "naïve 数据",
        "tab\tand\nline",
        "\x7f\x00",
        True,
        3,
        5e-05,
        0.015,
        [1, 2],
        [],
        [[0, 5], [0]],
        {"source": "folder", "path": "a b", "odd key": 1},
    ],
)
def test_values_are_read_as_they_were(value: object) -> None:
    assert tomllib.loads(f"value = {toml_value(value)}") == {"value": value}


def test_tables_with_comments() -> None:
    long = "a comment that goes on and on " * 8
    text = written(
        [
            Table("", {"name": "x"}, above="first\nsecond"),
            Table("[data]", {"train": "a.csv", "odd key": 1}, above=long, beside={"train": "short", "odd key": long}),
            Table("[[screen]]", {"step": "export"}),
            Table("[[screen]]", {"step": "quantize"}),
        ]
    )
    assert text.startswith('# first\n# second\nname = "x"\n\n# a comment')
    assert 'train = "a.csv"                   # short\n' in text
    assert max(map(len, text.splitlines())) <= WIDTH
    read = tomllib.loads(text)
    assert read["data"] == {"train": "a.csv", "odd key": 1}
    assert [step["step"] for step in read["screen"]] == ["export", "quantize"]
