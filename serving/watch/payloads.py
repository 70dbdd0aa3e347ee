"""Keeps a share of what is asked, where the operator wants it: inputs to certify on, and nothing that says whose.

A folder for each cascade has JSON lines of texts, or image files, as `operating-point --traffic` and `score` read them.
All is written in a thread. A file is there whole or not at all. The processes of a server share the folder and its
limit; the oldest files go first. When the folder cannot be written, nothing more is kept until the next start.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import random
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import orjson

from serving.model.text import Text
from serving.settings import Settings

MEGABYTE = 1_000_000
MOST_WAITING_BYTES = 32 * MEGABYTE
"""Of payloads that wait for the thread; those beyond are left out."""
FILE_BYTES = MEGABYTE
"""A file of texts that is as large is followed by another one."""
PAUSE_S = 5.0
"""Texts of so long are written together."""

logger = logging.getLogger("sieve")


class Payload(NamedTuple):
    """A line of JSON, or with a `suffix` a file, for the folder `name`."""

    name: str
    data: bytes
    suffix: str = ""


class Payloads:
    """Keeps each input with the probability `share`, in `folder`, of at most `limit_bytes` together.

    `draw` gives numbers from 0 to 1.
    """

    def __init__(self, folder: Path, share: float, limit_bytes: int, draw: random.Random | None = None) -> None:
        self._folder, self._share, self._limit_bytes = folder, share, limit_bytes
        self._random = draw or random.Random()  # nosec B311 # no secret
        self._waiting: queue.SimpleQueue[Payload | None] = queue.SimpleQueue()
        self._put_bytes = self._done_bytes = 0  # each is written by one thread
        self._stopped = False
        self._ended = threading.Event()
        self._lines: dict[str, tuple[Path, list[bytes]]] = {}
        self._thread = threading.Thread(target=self._write_all, name="payloads", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def drawn(self) -> bool:
        """Whether to keep the next input, whatever it is."""
        return not self._stopped and self._random.random() < self._share

    def texts(self, name: str, texts: Iterable[Text]) -> None:
        """Keep those of the texts, or pairs, for the cascade `name` that are drawn."""
        for text in texts:
            if self.drawn():
                pair = {"text": text} if isinstance(text, str) else {"text": text.text, "text_pair": text.text_pair}
                self._put(Payload(name, orjson.dumps(pair, option=orjson.OPT_APPEND_NEWLINE)))

    def image(self, name: str, data: bytes, suffix: str) -> None:
        """Keep the file of an image for the cascade `name`, which was drawn."""
        self._put(Payload(name, data, suffix))

    def close(self) -> None:
        """Write what waits, then end."""
        self._ended.set()
        self._waiting.put(None)
        self._thread.join(timeout=5.0)
        atexit.unregister(self.close)

    def _put(self, payload: Payload) -> None:
        if self._put_bytes - self._done_bytes + len(payload.data) <= MOST_WAITING_BYTES:
            self._put_bytes += len(payload.data)
            self._waiting.put(payload)

    def _write_all(self) -> None:
        open_ = True
        while open_:
            came = [self._waiting.get()]
            while not self._waiting.empty():
                came.append(self._waiting.get())
            open_ = None not in came
            payloads = [each for each in came if each is not None]
            try:
                self._write(payloads)
            except OSError as error:
                self._stopped = True
                logger.error(
                    "no more payloads are kept: %s cannot be written (%s); make room or mend its permissions, and "
                    "start the service anew",
                    self._folder,
                    error.strerror,
                )
                return
            self._done_bytes += sum(len(each.data) for each in payloads)
            if open_:
                self._ended.wait(PAUSE_S)

    def _write(self, payloads: Iterable[Payload]) -> None:
        changed = set()
        for name, data, suffix in payloads:
            if suffix:
                _write_whole(self._folder / name / f"{secrets.token_hex(8)}.{suffix}", data)
                continue
            path, lines = self._lines.setdefault(name, (self._folder / name / f"{secrets.token_hex(8)}.ndjson", []))
            lines.append(data)
            changed.add(name)
            if sum(map(len, lines)) >= FILE_BYTES:
                _write_whole(path, b"".join(lines))
                del self._lines[name]
        for name in changed & self._lines.keys():
            path, lines = self._lines[name]
            _write_whole(path, b"".join(lines))
        self._remove_oldest()

    def _remove_oldest(self) -> None:
        there = []
        for path in self._folder.glob("*/*"):
            try:
                about = path.stat()
            except FileNotFoundError:  # another process removes the oldest, too
                continue
            there.append((about.st_mtime_ns, about.st_size, path))
        left = sum(size for _, size, _ in there)
        for _, size, path in sorted(there):
            if left <= self._limit_bytes:
                return
            path.unlink(missing_ok=True)
            left -= size
            self._lines = {name: (own, lines) for name, (own, lines) in self._lines.items() if own != path}


def kept_payloads(settings: Settings) -> Payloads | None:
    """What keeps payloads as the settings say; None where they keep none."""
    if not settings.keep_payloads:
        return None
    return Payloads(Path(settings.payload_folder), settings.keep_payloads, settings.payload_mb * MEGABYTE)


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.partial")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
