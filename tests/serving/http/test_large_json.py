"""A large JSON document read in pieces has the value that it has read as a whole."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import hypothesis
import hypothesis.strategies as st
import orjson
import pytest

from serving.errors import kind_of
from serving.http import large_json
from serving.http.large_json import LongString, parsed
from tests.serving.http.turns import counted

LONGEST, MOST = 20_000, 64


def read(data: bytes, longest: int = LONGEST, most: int = MOST) -> Any:
    return asyncio.run(parsed(data, longest, most))


CHARACTERS = st.one_of(st.sampled_from('"\\/\n\t{}[],: '), st.characters(codec="utf-8"))
TEXTS = st.text(CHARACTERS, max_size=60)
VALUES = st.one_of(TEXTS, st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())


@hypothesis.given(
    value=st.dictionaries(st.text("ab", max_size=3), st.one_of(VALUES, st.lists(VALUES, max_size=8)), max_size=4),
    ascii_alone=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
def test_it_is_the_value_of_the_whole(value: dict[str, Any], ascii_alone: bool, indent: int | None) -> None:
    data = json.dumps(value, ensure_ascii=ascii_alone, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "SHORT_BYTES", 4)
        patch.setattr(large_json, "BYTES_AT_ONCE", 3)
        assert read(data, most=10_000) == value


@pytest.mark.parametrize("character", ["я", "\U0001f600", "a", '"', "\\"])
@pytest.mark.parametrize("ascii_alone", [True, False])
def test_64_texts_of_20_000_characters_are_read(character: str, ascii_alone: bool) -> None:
    value = {"texts": [character * LONGEST] * MOST, "budget_ms": 50}
    assert read(json.dumps(value, ensure_ascii=ascii_alone).encode()) == value


def test_a_string_that_no_text_may_be_as_long_as_stays_as_it_is() -> None:
    value = {"text": "x" * (LONGEST + 1), "image": "y" * 500_000}
    got = read(json.dumps(value).encode())
    assert {key: got[key].parsed() for key in value} == value


def test_long_strings_deeper_down_are_found_as_deep_as_is_said() -> None:
    long = ["x" * 600, "y" * (LONGEST + 1)]
    value = {"inputs": [{"data": long}, {"data": [[long[0]]]}]}
    first, second = asyncio.run(parsed(json.dumps(value).encode(), LONGEST, MOST, depth=4))["inputs"]
    assert first["data"][0] == second["data"][0][0] == long[0]
    assert first["data"][1].parsed() == long[1]


def test_of_a_long_key_the_beginning_is_left() -> None:
    assert list(read(json.dumps({"ключ" * 1_000: 1}, ensure_ascii=False).encode())) == [("ключ" * 1_000)[:256]]


def test_only_so_many_long_strings_are_parsed() -> None:
    got = read(json.dumps({"texts": ["x" * 2_000] * 5}).encode(), most=3)["texts"]
    assert [isinstance(text, LongString) for text in got] == [False] * 3 + [True] * 2


def test_of_a_key_that_comes_twice_the_last_value_counts() -> None:
    first, last = ([character * 2_000] * MOST for character in "xy")
    data = b'{"texts": %b, "texts": %b}' % (orjson.dumps(first), orjson.dumps(last))
    assert read(data) == orjson.loads(data) == {"texts": last}


def test_a_long_string_is_a_string_to_a_client() -> None:
    assert kind_of(read(json.dumps({"texts": "x" * 70_000}).encode())["texts"]) == "a string"


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": "%b' % (b"x" * 5_000),
        b'{"a": "%b' % (b'\\"' * 50_000),
        b'{"a": "%b\\' % (b'\\"' * 50_000),
        b'{"a": "%b" 5}' % (b"x" * 5_000),
        b'{"a": "%b"}' % (b"x" * 5_000 + b"\\q"),
        b'{"a": "%b"}' % (b"x" * 5_000 + b"\xff"),
        b'{"a": "%b"}' % (b"x" * 5_000 + b"\\ud800"),
        b'{"a": "%b"}' % (b"x" * 5_000 + b"\n"),
    ],
    ids=["open", "open, escapes", "open, an escape", "comma", "escape", "utf-8", "surrogate", "control"],
)
def test_what_is_no_json_as_a_whole_is_none_in_pieces(data: bytes) -> None:
    for way in (orjson.loads, read):
        with pytest.raises(orjson.JSONDecodeError):
            way(data)


@pytest.mark.parametrize("entry", [b"[]", b'""', b"0", b"  ", b'{"a":1}'])
def test_many_small_values_are_refused_before_they_are_made(entry: bytes) -> None:
    """Python's objects of them would take thirty times as much memory as the body."""
    with pytest.raises(ValueError, match="more than 98,304 bytes beside long strings") as error:
        read(b'{"texts": [' + b",".join([entry] * (2_000_000 // len(entry))) + b"]}")
    assert not isinstance(error.value, orjson.JSONDecodeError)


def test_other_things_than_objects_are_what_they_are() -> None:
    assert read(b"[1, 2]") == [1, 2]
    assert isinstance(read(b'"%b"' % (b"x" * 5_000)), str)


@pytest.mark.parametrize(
    "string",
    [b"\\u0431" * 20_000, b'\\"' * 20_000, b"\\\\" * 20_000, "я".encode() * 20_000],
    ids=["escaped", "quotation marks", "backslashes", "plain"],
)
def test_others_have_turns_in_between(string: bytes) -> None:
    data = b'{"texts": [' + b",".join([b'"%b"' % string] * MOST) + b"]}"
    value, turns, longest_s = counted(lambda: parsed(data, LONGEST, MOST))
    assert len(value["texts"]) == MOST
    assert turns >= MOST
    begin_s = time.perf_counter()
    orjson.loads(data)
    assert longest_s < max(0.5 * (time.perf_counter() - begin_s), 0.02), "and not one long one"
