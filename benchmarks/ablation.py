"""make ablation: what each part of the hot path gives, by taking it out.

The service is copied, one line of the copy is changed, and the copy is measured in turn with the service as it is.
Everything escalates. `empty`: models that do next to nothing, so that what is seen is the service; `expert`: the demo's
own expert behind an empty screen, so that what is seen is batching. Writes build/ablation.json and prints a table.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import bentoml

from benchmarks.homes import ALWAYS, make_home
from benchmarks.hot_path import CASCADE, TOKENS, text_of
from benchmarks.servers import ROOT, sieve
from loadtest.traffic.process import Running
from loadtest.traffic.wrk import closed_loop
from optimize.progress import console
from optimize.versions import processor
from serving.model.artifact import Artifact, write_json

ROUNDS, SECONDS = 3, 2.0
OUTPUT = Path("build") / "ablation.json"
# What is taken out: (file, line as it is, line as it would be).
CHANGES = {
    "the short way past BentoML's middleware": [
        ("serving/http/mount.py", "install_fast_path(running.to_async.app, posts, draining)", "pass"),
    ],
    "that, and BentoML's tracing switched off": [
        ("serving/http/mount.py", "install_fast_path(running.to_async.app, posts, draining)", "pass"),
        ("service.py", 'os.environ["OTEL_SDK_DISABLED"] = "true"', "pass"),
    ],
    "a lone item run without a thread": [("serving/http/expert_app.py", "if len(items) == 1:", "if not items:")],
    "a second call on its way": [
        ("serving/settings.py", "calls_in_flight: int = Field(default=2", "calls_in_flight: int = Field(default=1")
    ],
    "escalations together in one call": [("serving/settings.py", "Field(default=MAX_BATCH_SIZE", "Field(default=1")],
}


def main() -> int:
    stored = [Path(bentoml.models.get(f"{CASCADE}-{role}:latest").path) for role in ("expert", "screen")]
    body = {"text": text_of(TOKENS, Artifact.open(stored[0])), "budget_ms": 1000}
    rows = []
    with tempfile.TemporaryDirectory(prefix="sieve-ablation-") as name:
        for number, (what, changes) in enumerate(CHANGES.items()):
            console.print(f"{number + 1} of {len(CHANGES)}: without {what}")
            folder = Path(name) / str(number)
            rows.append({"without": what, **measured(changed(folder / "code", changes), folder, stored[0], body)})
            OUTPUT.parent.mkdir(exist_ok=True)
            write_json(OUTPUT, {"machine": processor(), "tokens": TOKENS, "rows": rows})
    print(table(rows))
    return 0


def changed(folder: Path, changes: list[tuple[str, str, str]]) -> Path:
    """A copy of the service with these lines changed."""
    shutil.copytree(ROOT / "serving", folder / "serving", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("service.py", "bentofile.yaml"):
        shutil.copy(ROOT / file, folder)
    for file, line, other in changes:
        text = (folder / file).read_text()
        if line not in text:
            raise SystemExit(f"benchmarks/ablation.py: {file} has no {line!r} to change; bring CHANGES up to date")
        (folder / file).write_text(text.replace(line, other))
    return folder


def measured(code: Path, folder: Path, stored: Path, body: dict[str, object]) -> dict[str, dict[str, float]]:
    """Medians of the rounds, with and without, in turn."""
    with contextlib.ExitStack() as stack:

        def served(place: Path, label: str, *empty: str) -> Running:
            home = make_home(folder / label, stored.parent.parent, CASCADE, threshold=ALWAYS, empty=empty)
            return stack.enter_context(sieve(home, CASCADE, place))

        servers = {
            "empty": (
                served(ROOT, "empty-with", "screen", "expert"),
                served(code, "empty-without", "screen", "expert"),
            ),
            "expert": (served(ROOT, "expert-with", "screen"), served(code, "expert-without", "screen")),
        }
        figures: dict[str, list[tuple[float, float]]] = {}
        for _ in range(ROUNDS):
            for model, connections, key in (("empty", 1, "p50_ms"), ("empty", 32, "per_s"), ("expert", 32, "per_s")):
                pair = [
                    closed_loop(f"{s.url}/classify_text", body, connections=connections, seconds=SECONDS)[key]
                    for s in servers[model]
                ]
                figures.setdefault(f"{model}_{connections}_{key}", []).append((pair[0], pair[1]))
    return {
        key: {"with": statistics.median(w for w, _ in pairs), "without": statistics.median(o for _, o in pairs)}
        for key, pairs in figures.items()
    }


def table(rows: list[dict[str, object]]) -> str:
    """Markdown."""
    lines = [
        "| without | p50 ms, empty, 1 connection | requests/s, empty, 32 | requests/s, expert, 32 |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [
            f"{row[key]['without']:.{digits}f} (with: {row[key]['with']:.{digits}f})"  # type: ignore[index]
            for key, digits in (("empty_1_p50_ms", 2), ("empty_32_per_s", 0), ("expert_32_per_s", 0))
        ]
        lines.append(f"| {row['without']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
