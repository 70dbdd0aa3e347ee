"""make loadtest: serve a published cascade for real, drive it, judge it.

    python -m benchmarks.served [--text demo-text] [--image demo-image] [ARGUMENTS OF `python -m loadtest run`]

Ends with the exit status of `python -m loadtest run`, which writes its results into build/loadtest/demo-text. Without
--texts, the demo's cascade gets generated payment messages with labels.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import tempfile
from pathlib import Path

from benchmarks.command import end_with
from benchmarks.servers import PYTHON, ROOT, serve_line
from loadtest.traffic.process import running

MESSAGES, UNSEEN = 500, 777


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve, drive, judge.")
    parser.add_argument("--text", default="demo-text", help="text cascade of the model store; empty for none")
    parser.add_argument("--image", default="demo-image", help="image cascade of the model store; empty for none")
    parser.add_argument("--settings", type=Path, help="settings file to serve with")
    parser.add_argument("--texts", type=Path, help="labelled texts (payment messages, for the demo's cascade)")
    parser.add_argument("--out", type=Path, help="folder of the results (build/loadtest/TEXT)")
    options, more = parser.parse_known_args()
    named = [f"text={options.text}", f"image={options.image}"]
    named += [f"settings={options.settings.resolve()}"] if options.settings else []
    with tempfile.TemporaryDirectory(prefix="sieve-loadtest-") as name:
        log = Path(name) / "serve.log"
        texts = options.texts
        if texts is None and options.text == "demo-text":
            texts = payment_messages(Path(name) / "messages.csv")
        more += ["--texts", str(texts)] if texts else []
        more += ["--out", str(options.out or Path("build") / "loadtest" / (options.text or options.image))]
        quiet = {"BENTOML_DO_NOT_TRACK": "True"}
        with running(serve_line(*named), variables=quiet, ready="/readyz", log=log, folder=ROOT) as server:
            line = [PYTHON, "-m", "loadtest", "run", server.url, *more]
            return subprocess.run(line, cwd=ROOT, check=False).returncode


def payment_messages(path: Path) -> Path:
    """Write a CSV of labelled messages that the demo's models were not trained on."""
    from optimize.data.payments import generate

    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *generate(MESSAGES, seed=UNSEEN)])
    return path


if __name__ == "__main__":
    end_with(main)
