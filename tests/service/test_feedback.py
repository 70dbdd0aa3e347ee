"""A server of two API processes: feedback finds the answers of both, and the payloads of both are kept."""

from __future__ import annotations

from pathlib import Path

import httpx

from optimize.score.asked import Asked
from optimize.score.source import open_source
from tests.conftest import ROOT, TinyCascades, messages
from tests.server import TINY, serve

TEXTS = [text for text, _ in messages(40, seed=31)]


def told_of_all(url: str) -> None:
    """Ask each text on a connection of its own, which the kernel gives to either process, and tell one wrong."""
    labels = {}
    for number, text in enumerate(TEXTS):
        headers = {"X-Request-Id": f"feedback-{number}"}
        asked = {"text": text, "budget_ms": 1000}
        labels[number] = httpx.post(f"{url}/classify_text", json=asked, headers=headers, timeout=60).json()["label"]
    known = httpx.get(f"{url}/models").json()["text"]["screen"]["labels"]
    other = next(label for label in known if label != labels[0])
    for number, label in labels.items():
        told = {"request_id": f"feedback-{number}", "label": label if number else other}
        reply = httpx.post(f"{url}/feedback", json=told, timeout=60)
        assert reply.status_code == 200, reply.text
        assert reply.json()["right"]["cascade"] is (number != 0)
    for _ in range(8):  # whichever process is asked
        feedback = httpx.get(f"{url}/models", timeout=60).json()["text"]["feedback"]
        assert (feedback["cascade"]["right"], feedback["cascade"]["n"]) == (len(TEXTS) - 1, len(TEXTS))
        assert feedback["screen"]["n"] == len(TEXTS)


def test_feedback_finds_the_answers_of_all_processes_and_what_was_asked_is_kept(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    kept, settings = tmp_path / "kept", tmp_path / "settings.toml"
    settings.write_text(
        f'workers = 2\nfeedback_memory = 1000\nkeep_payloads = 1.0\npayload_folder = "{kept}"\n', encoding="utf-8"
    )
    asked = ("--arg", f"settings={settings}")
    with serve(*TINY, *asked, home=tiny_cascades.home, folder=ROOT, log=tmp_path / "log") as running:
        told_of_all(running.url)
    # The end of the server has written what waited.
    source = open_source(kept / "tiny-text", Asked(), "text", pairs=False)
    read = [text for chunk in source.chunks(64) for text in source.contents(chunk.table, chunk.faults)]
    assert sorted(map(str, read)) == sorted(TEXTS)
