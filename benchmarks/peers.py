"""make peers: the servers that people would pick instead, ready to be measured by `python -m loadtest compare --peers`.

    python -m benchmarks.peers [CASCADE]

1. build/peers/home: a copy of the cascade (demo-text) behind an empty screen, where everything escalates
2. build/peers/peers.toml: how Sieve, each peer and the model alone are started, with the request that all of them get

All run the expert's graph with its tokeniser file, on one thread of ONNX Runtime. The text has 32 tokens. The
environments of the peers are made by the Makefile; loadtest/baselines holds what each of them runs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import end_with
from benchmarks.contenders import sieve_line
from benchmarks.homes import ALWAYS, make_home
from benchmarks.published import Published
from benchmarks.servers import ROOT, baseline_variables
from benchmarks.texts import TOKENS, text_of

FOLDER = ROOT / "build" / "peers"
PATIENT_MS, SEARCHED_MS = 1_000, 50
"""Sieve's budget in the closed loops, where nobody else has one, and in the search for the rate with p99 50 ms."""
OIP = {"path": "/v2/models/text/infer", "protocol": "oip-json", "ready": "/v2/models/text/ready"}
BASELINES = "-m loadtest.baselines"
PEERS: Mapping[str, Mapping[str, str]] = {
    "mosec": {"command": f"{BASELINES}.mosec_app --address 127.0.0.1 --port {{port}}", "ready": "/"},
    "litserve": {"command": f"{BASELINES}.litserve_app {{port}}", "ready": "/health"},
    "mlserver": {"command": f"{BASELINES}.mlserver_app {{port}}", **OIP},
    "ray": {"command": f"{BASELINES}.ray_app {{port}}", "ready": "/-/healthz"},
    "triton": {"command": f"{BASELINES}.triton_app {{port}}", **OIP},
    "fastapi": {
        "command": "-m uvicorn loadtest.baselines.fastapi_app:app --no-access-log --host 127.0.0.1 --port {port}",
        "ready": "/openapi.json",
    },
    "bentoml": {
        "command": "-m bentoml serve loadtest.baselines.bentoml_batching:Classify --host 127.0.0.1 --port {port}"
    },
}
"""What each environment of build/peers runs, after its Python."""
NAMES = {
    "mosec": "mosec",
    "litserve": "LitServe",
    "mlserver": "MLServer",
    "ray": "Ray Serve",
    "triton": "Triton",
    "fastapi": "FastAPI, no batching",
    "bentoml": "BentoML's defaults",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Make ready what `python -m loadtest compare --peers` measures.")
    parser.add_argument("cascade", nargs="?", default="demo-text")
    options = parser.parse_args()
    path = write_peers(Published(options.cascade), FOLDER)
    print(f"{path} is written; python -m loadtest compare --peers measures what stands in it")
    return 0


def write_peers(published: Published, folder: Path) -> Path:
    """Write peers.toml and Sieve's home into `folder`, which holds the environments."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    make_home(home, published.store, published.name, threshold=ALWAYS, empty=("screen",))
    expert = published.expert
    text = text_of(TOKENS, expert)
    graph = expert.variant_path(expert.manifest.default_cpu)
    model = baseline_variables(published.baseline(expert, "onnx", graph))
    rows = [sieve_row(published, home, text)]
    rows += [peer_row(key, folder, model, text) for key in PEERS]
    alone = {
        "command": f"{python_of('fastapi', folder)} -m loadtest.baselines.alone {{seconds}} {shlex.quote(text)}",
        "folder": str(ROOT),
        "variables": model,
    }
    path = folder / "peers.toml"
    path.write_text(as_toml("[alone]", alone) + "".join(as_toml("[[peer]]", row) for row in rows), encoding="utf-8")
    return path


def sieve_row(published: Published, home: Path, text: str) -> dict[str, Any]:
    """Sieve, where everything escalates."""
    bodies = [json.dumps({"text": text, "budget_ms": budget}) for budget in (PATIENT_MS, SEARCHED_MS)]
    return {
        "name": "Sieve",
        "command": shlex.join(sieve_line(published)),
        "body": bodies[0],
        "searched": bodies[1],
        "folder": str(ROOT),
        "variables": {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "SIEVE_WORKERS": "1"},
    }


def peer_row(key: str, folder: Path, model: Mapping[str, str], text: str) -> dict[str, Any]:
    """One peer in the environment of its name."""
    said = dict(PEERS[key])
    variables = {**model, "RAY_USAGE_STATS_ENABLED": "0"} if key == "ray" else dict(model)
    if key == "bentoml":
        variables |= {"BENTOML_HOME": str(folder / "bentoml-home"), "BENTOML_DO_NOT_TRACK": "True"}
    body: dict[str, Any] = {"text": [text] if key == "bentoml" else text}
    if "protocol" in said:
        body = {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}
    command = f"{python_of(key, folder)} {said.pop('command')}"
    row = {"name": NAMES[key], "command": command, **said, "body": json.dumps(body)}
    return {**row, "folder": str(ROOT), "variables": variables}


def python_of(key: str, folder: Path) -> str:
    """The Python of an environment, as a word of a command. Triton does not start through a link to its folder."""
    return shlex.quote(str((folder / key).resolve() / "bin" / "python"))


def as_toml(head: str, row: Mapping[str, Any]) -> str:
    """A table of strings, the variables in one of its lines. A string of JSON is one of TOML."""
    lines = []
    for key, value in row.items():
        if isinstance(value, Mapping):
            inner = ", ".join(f"{name} = {json.dumps(each, ensure_ascii=False)}" for name, each in value.items())
            lines.append(f"{key} = {{ {inner} }}")
        else:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return f"{head}\n" + "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    end_with(main)
