"""WebP files, read as far as their size."""

from __future__ import annotations

from typing import Any

from PIL import ImageFile, WebPImagePlugin

ANIMATED, ALPHA = 0x02, 0x10


class WebPHead(ImageFile.ImageFile):
    """A WebP file of which only the head is read until it is loaded.

    Pillow's own class makes room for the pixels twice as soon as it is opened, before anybody can ask whether there is
    memory for them.
    """

    format = "WEBP"
    format_description = "WebP image"
    is_animated = False

    def _open(self) -> None:
        assert self.fp is not None
        head = self.fp.read(30)
        match head[12:16]:
            case b"VP8X" if len(head) == 30:
                self._size = _number(head[24:27]) + 1, _number(head[27:30]) + 1
                self._mode = "RGBA" if head[20] & ALPHA else "RGB"
                self.is_animated = bool(head[20] & ANIMATED)
            case b"VP8 " if len(head) == 30 and head[23:26] == b"\x9d\x01\x2a":
                self._size = _number(head[26:28]) & 0x3FFF, _number(head[28:30]) & 0x3FFF
                self._mode = "RGB"
            case b"VP8L" if len(head) >= 25 and head[20] == 0x2F:
                bits = _number(head[21:25])
                self._size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
                self._mode = "RGBA" if bits >> 28 & 1 else "RGB"
            case _:
                raise SyntaxError("the head of a WebP file is not there")

    def load(self) -> Any:
        """Decode the file. What the decoder needed is free again afterwards."""
        if self._im is None:
            assert self.fp is not None
            self.fp.seek(0)
            whole = WebPImagePlugin.WebPImageFile(self.fp)
            whole.load()
            self._mode, self.im, self.info = whole.mode, whole.im, whole.info
            self.fp = None
        return super().load()


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
