"""make loadtest, make overload, make mlperf: serve a published cascade for real, drive it, judge it.

    python -m benchmarks.served [--verb run] [--text demo-text] [--image demo-image] [ARGUMENTS OF THE VERB]

Ends with the exit status of `python -m loadtest VERB URL`, which writes its results into build/loadtest/demo-text.
Without --texts, the demo's cascade gets generated payment messages with labels. `--client-core 1` gives the generator
this core alone, and the service all others (taskset).
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import tempfile
from pathlib import Path

import psutil

from benchmarks.command import end_with
from benchmarks.servers import PYTHON, ROOT, serve_line
from loadtest.errors import OptionError
from loadtest.traffic.process import free_port, running

MESSAGES, UNSEEN = 500, 777


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve, drive, judge.")
    parser.add_argument("--verb", choices=("run", "overload", "mlperf"), default="run", help="of loadtest (run)")
    parser.add_argument("--client-core", type=int, help="core of the generator alone (all share all)")
    parser.add_argument("--text", default="demo-text", help="text cascade of the model store; empty for none")
    parser.add_argument("--image", default="demo-image", help="image cascade of the model store; empty for none")
    parser.add_argument("--settings", type=Path, help="settings file to serve with")
    parser.add_argument("--texts", type=Path, help="labelled texts (payment messages, for the demo's cascade)")
    parser.add_argument("--out", type=Path, help="folder of the results (build/loadtest/TEXT)")
    options, more = parser.parse_known_args()
    grpc = free_port()
    named = [f"text={options.text}", f"image={options.image}", f"grpc_port={grpc}"]
    named += [f"settings={options.settings.resolve()}"] if options.settings else []
    with tempfile.TemporaryDirectory(prefix="sieve-loadtest-") as name:
        log = Path(name) / "serve.log"
        texts = options.texts
        if texts is None and options.text == "demo-text":
            texts = payment_messages(Path(name) / "messages.csv")
        more += ["--texts", str(texts)] if texts else []
        more += [] if options.verb == "mlperf" else ["--grpc", f"127.0.0.1:{grpc}"]
        more += ["--out", str(options.out or Path("build") / "loadtest" / (options.text or options.image))]
        quiet = {"BENTOML_DO_NOT_TRACK": "True"}
        service_on, generator_on = pinned(options.client_core)
        line = [*service_on, *serve_line(*named)]
        with running(line, variables=quiet, ready="/readyz", log=log, folder=ROOT) as server:
            line = [*generator_on, PYTHON, "-m", "loadtest", options.verb, server.url, *more]
            return subprocess.run(line, cwd=ROOT, check=False).returncode


def pinned(client_core: int | None) -> tuple[list[str], list[str]]:
    """What stands before the commands of the service and of the generator, so that each keeps to its own cores."""
    if client_core is None:
        return [], []
    others = sorted(set(psutil.Process().cpu_affinity()) - {client_core})
    if not others:
        raise OptionError(f"--client-core: must leave a core for the service, got {client_core}; leave it out")
    return ["taskset", "-c", ",".join(map(str, others))], ["taskset", "-c", str(client_core)]


def payment_messages(path: Path) -> Path:
    """Write a CSV of labelled messages that the demo's models were not trained on."""
    from optimize.data.payments import generate

    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *generate(MESSAGES, seed=UNSEEN)])
    return path


if __name__ == "__main__":
    end_with(main)
