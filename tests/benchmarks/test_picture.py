"""README's picture is what the command draws; its words stand inside it, and nothing is fetched for it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from benchmarks.picture import HEIGHT, PICTURE, WIDTH, picture


def test_the_file_is_what_the_command_draws() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture()


def test_it_has_colours_for_light_and_dark_and_a_title() -> None:
    root = ElementTree.fromstring(picture())
    style = picture()
    light, _, dark = style.partition("prefers-color-scheme: dark")
    names = [set(re.findall(r"(--[a-z-]+):", part)) for part in (light, dark)]
    assert names[0] == names[1]
    assert set(re.findall(r"var\((--[a-z-]+)\)", style)) <= names[0]
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert not re.search(r"url\(|href", style)


def test_everything_stands_inside_it() -> None:
    for element in ElementTree.fromstring(picture()).iter():
        if {"x", "y"} <= set(element.keys()):
            x, y = float(element.attrib["x"]), float(element.attrib["y"])
            assert 0 <= x + float(element.get("width", 0)) <= WIDTH
            assert 0 <= y + float(element.get("height", 0)) <= HEIGHT
