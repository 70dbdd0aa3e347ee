"""The head of a WebP file says what Pillow says of the file, and takes no room for its pixels."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, WebPImagePlugin

from serving.model.webp import WebPHead
from tests.serving.model.test_image import encoded, noise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"lossless": True},
    {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"},
    {"lossless": True, "icc_profile": b"profile"},
]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("options", OPTIONS, ids=["lossy", "lossless", "exif", "icc"])
@pytest.mark.parametrize("size", [(1, 1), (20, 30), (300, 2)])
def test_it_says_what_pillow_says(mode: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    image = noise(*size).convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    file = encoded(image, "WEBP", **options)
    head, whole = WebPHead(io.BytesIO(file)), WebPImagePlugin.WebPImageFile(io.BytesIO(file))
    assert (head.size, head.mode, head.is_animated) == (whole.size, whole.mode, False)
    head.load()
    whole.load()
    assert (head.mode, head.tobytes()) == (whole.mode, whole.tobytes())
    assert head.info.get("exif") == whole.info.get("exif")


def test_an_animation_is_told() -> None:
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue")]
    head = WebPHead(io.BytesIO(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])))
    assert (head.size, head.is_animated) == ((9, 7), True)


@pytest.mark.parametrize("length", [12, 16, 20, 24, 29])
def test_a_head_that_is_cut_off_is_told(length: int) -> None:
    with pytest.raises(SyntaxError, match="head of a WebP file"):
        WebPHead(io.BytesIO(encoded(noise(), "WEBP")[:length]))


def test_a_head_takes_no_room_for_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("the decoder makes room when it is opened")

    file = encoded(noise(), "WEBP")
    monkeypatch.setattr(WebPImagePlugin, "WebPImageFile", opened)
    assert WebPHead(io.BytesIO(file)).size == (20, 30)
