"""PNG files without their metadata: texts and colour profiles can be large, and grow a thousandfold when unpacked."""

from __future__ import annotations

from serving.model.parts import TooManyPartsError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What pixels, orientation and the rule for animations need: chunks that come once, and those that come often.
ONCE = {b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"acTL"}
OFTEN = {b"IDAT", b"fcTL", b"fdAT"}
END = b"IEND"
# An iTXt chunk that may state the orientation. It is not compressed.
XMP = b"XML:com.adobe.xmp\0\0"
MAX_XMP_BYTES = 65_536
# A file may have so many chunks, and one more for so many of its bytes. Encoders write chunks of 8 KB and more.
MAX_CHUNKS, CHUNK_BYTES = 1_024, 1_024


def without_metadata(data: bytes) -> bytes:
    """The file with those chunks alone, and without what follows its end. Damage stays as it is.

    Raises TooManyPartsError for more chunks than MAX_CHUNKS and one for each CHUNK_BYTES.
    """
    kept: list[bytes] = []
    seen: set[bytes] = set()
    begin, at = 0, len(SIGNATURE)
    left = most = MAX_CHUNKS + len(data) // CHUNK_BYTES
    while at + 8 <= len(data):
        left -= 1
        if left < 0:
            raise TooManyPartsError(f"{most:,} chunks in a PNG file of its size")
        kind, length = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        if kind == END:
            return b"".join([*kept, data[begin:end]]) if kept or end < len(data) else data
        if kind not in OFTEN and (kind in seen or not _is_wanted(data, at, kind, length)):
            kept.append(data[begin:at])
            begin = end
        else:
            seen.add(kind)
        at = end
    return b"".join([*kept, data[begin:]]) if kept else data


def _is_wanted(data: bytes, at: int, kind: bytes, length: int) -> bool:
    return kind in ONCE or (kind == b"iTXt" and length <= MAX_XMP_BYTES and data.startswith(XMP, at + 8))
