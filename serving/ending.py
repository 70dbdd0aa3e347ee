"""Ends the process with one sentence, where what it was given cannot be served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import SieveError


@contextmanager
def in_one_sentence(of: object) -> Iterator[None]:
    """End the process with the message of an error in the artifact or cascade `of`, without a traceback."""
    try:
        yield
    except SieveError as error:
        raise SystemExit(f"{of}: {error}") from None
