"""Image files of absurdly many parts: few bytes, but each part takes time of its own."""

from __future__ import annotations

import re

# Encoders write up to a dozen scans, and each may take as long as a whole picture.
MAX_SCANS = 100
# A scan's marker, its length and the number of its layers, which follows from the length. Fewer bytes would be found
# by chance in a film behind the picture.
SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
SCAN_BYTES = 5
# Other threads have a turn in between.
BYTES_AT_ONCE = 262_144


class TooManyPartsError(Exception):
    """A file has more parts than any picture needs. Its text says how many it may have, and of what."""


def require_few_scans(data: bytes) -> None:
    """Raise TooManyPartsError for a JPEG file of more than MAX_SCANS scans."""
    scans = 0
    for begin in range(0, len(data), BYTES_AT_ONCE):
        scans += len(SCAN.findall(data, begin, begin + BYTES_AT_ONCE + SCAN_BYTES - 1))
        if scans > MAX_SCANS:
            raise TooManyPartsError(f"{MAX_SCANS} scans in a JPEG file")
