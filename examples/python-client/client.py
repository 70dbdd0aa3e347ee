"""Classify texts and images with Sieve: python client.py URL TEXT_OR_IMAGE_FILE..."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import httpx

TRIES = 4
IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
# The service looks at the bytes to tell which kind of image they are.
BYTES = {"Content-Type": "application/octet-stream"}


class SieveError(Exception):
    """The service refused a request; the text says which field, why, and what to do."""


class Sieve:
    """A client that keeps its connections open. Use one for many requests."""

    def __init__(self, url: str, *, budget_ms: float = 50) -> None:
        self._http = httpx.Client(base_url=url, timeout=budget_ms / 1000 + 5)
        self._budget = {"X-Budget-Ms": str(budget_ms)}

    def text(self, text: str) -> dict[str, Any]:
        """The answer for one text."""
        return self._post("/classify_text", json={"text": text})

    def texts(self, texts: list[str]) -> list[dict[str, Any]]:
        """An answer, or an object with `error`, for each of up to 64 texts."""
        answers: list[dict[str, Any]] = self._post("/classify_texts", json={"texts": texts})["answers"]
        return answers

    def image(self, path: Path) -> dict[str, Any]:
        """The answer for one image file."""
        return self._post("/classify_image", content=path.read_bytes(), headers=BYTES)

    def _post(self, address: str, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        for attempt in range(1, TRIES + 1):
            reply = self._http.post(address, headers={**self._budget, **(headers or {})}, **body)
            if reply.status_code != 503 or attempt == TRIES:
                break
            time.sleep(float(reply.headers["Retry-After"]))
        answer: dict[str, Any] = reply.json()
        if reply.is_error:
            raise SieveError(f"{answer['error']['message']} (request {answer['request_id']})")
        return answer


def main(url: str, *inputs: str) -> int:
    sieve = Sieve(url)
    for given in inputs:
        path = Path(given)
        answer = sieve.image(path) if path.suffix.lower() in IMAGES else sieve.text(given)
        note = f", degraded: {answer['degraded']}" if answer["degraded"] else ""
        print(f"{answer['label']} ({answer['confidence']:.0%}, {answer['stage']}{note}): {given}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except SieveError as error:
        sys.exit(f"error: {error}")
