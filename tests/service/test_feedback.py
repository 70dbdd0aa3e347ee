"""A server of two API processes: feedback finds the answers of both, and the payloads of both are kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from optimize.errors import DataError
from optimize.score.asked import Asked
from optimize.score.source import open_source
from tests.conftest import ROOT, TinyCascades, messages
from tests.server import LIMIT_S, TINY, Server, in_full, pauses, serve

TEXTS = [text for text, _ in messages(40, seed=31)]


def post(server: Server, path: str, **sent: Any) -> httpx.Response:
    """The reply on a connection of its own, which the kernel gives to either process."""
    with server.client() as client:
        return in_full(client, path, **sent)


def test_feedback_finds_the_answers_of_all_processes_and_what_was_asked_is_kept(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    kept, settings = tmp_path / "kept", tmp_path / "settings.toml"
    settings.write_text(
        f'workers = 2\nfeedback_memory = 1000\nkeep_payloads = 1.0\npayload_folder = "{kept}"\n', encoding="utf-8"
    )
    asked = ("--arg", f"settings={settings}")
    with serve(*TINY, *asked, home=tiny_cascades.home, folder=ROOT, log=tmp_path / "log") as running:
        tell_all(running)
        end_s, pause = time.monotonic() + LIMIT_S, pauses()
        while read_from(kept / "tiny-text") != set(TEXTS):
            assert time.monotonic() < end_s, "not all of the payloads are kept"
            time.sleep(next(pause))


def tell_all(server: Server) -> None:
    """Ask all texts, and tell one wrong and all others right."""
    labels = {}
    for number, text in enumerate(TEXTS):
        headers, body = {"X-Request-Id": f"feedback-{number}"}, {"text": text, "budget_ms": 1000}
        labels[number] = post(server, "/classify_text", json=body, headers=headers).json()["label"]
    known = httpx.get(f"{server.url}/models", timeout=60).json()["text"]["screen"]["labels"]
    other = next(label for label in known if label != labels[0])
    for number, label in labels.items():
        told = {"request_id": f"feedback-{number}", "label": label if number else other}
        reply = post(server, "/feedback", json=told)
        assert reply.status_code == 200, reply.text
        assert reply.json()["right"]["cascade"] is (number != 0)
    for _ in range(8):  # whichever process is asked
        feedback = httpx.get(f"{server.url}/models", timeout=60).json()["text"]["feedback"]
        assert (feedback["cascade"]["right"], feedback["cascade"]["n"]) == (len(TEXTS) - 1, len(TEXTS))
        assert feedback["screen"]["n"] == len(TEXTS)


def read_from(folder: Path) -> set[str]:
    try:
        source = open_source(folder, Asked(), "text", pairs=False)
        return {str(text) for chunk in source.chunks(64) for text in source.contents(chunk.table, chunk.faults)}
    except DataError:  # there is nothing yet
        return set()
