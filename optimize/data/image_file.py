"""An image as a data source keeps it: an encoded file."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from optimize.errors import DataError
from serving.errors import InvalidInputError
from serving.model.image import load
from serving.model.image_header import read_header


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, to be decoded by serving's decoder where it is used.

    Raises DataError when the file cannot be read, or when the service would refuse a request with it.
    """

    name: str
    """Its name in error messages."""
    content: Path | zipfile.Path | bytes
    sha256: bytes = b""
    """Digest of the file's bytes. One that is given is that of a file which was read before and is the same."""

    def __post_init__(self) -> None:
        if self.sha256:
            return
        try:
            data = self.read()
            read_header(data, self.name)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise DataError(f"data {self.name} cannot be read ({error}); bring the file, or leave it out") from None
        except InvalidInputError as error:
            raise DataError(f"data {error}") from None
        object.__setattr__(self, "sha256", hashlib.sha256(data).digest())

    def read(self) -> bytes:
        """The file's bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def require_whole(self) -> None:
        """Decode the image, as small as can be. Raises DataError if it is damaged."""
        try:
            load(read_header(self.read(), self.name), 1, self.name)
        except InvalidInputError as error:
            raise DataError(f"data {error}") from None
