"""make ablation: what each part of the hot path gains, by removing it.

Copies the service, changes lines of the copy, and measures the copy and the service in turn. Everything escalates.
`empty` has models that do almost no work, so its figures are those of the service. `expert` has the demo's expert
behind an empty screen, so its figures show the batching. Writes build/ablation.json and prints a table.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from benchmarks.command import end_with
from benchmarks.homes import ALWAYS, make_home
from benchmarks.hot_path import CASCADE
from benchmarks.published import Published
from benchmarks.servers import ROOT, sieve
from benchmarks.texts import TOKENS, text_of
from loadtest.traffic.process import Running
from loadtest.traffic.wrk import closed_loop
from optimize.progress import console
from serving.cpu import processor
from serving.model.artifact import write_json

ROUNDS, SECONDS = 3, 2.0
OUTPUT = Path("build") / "ablation.json"
Change = tuple[str, str, str]
"""A file of the service, a line of it, and what replaces the line."""
NO_FAST_PATH: Change = (
    "serving/http/mount.py",
    "install_fast_path(whole, posts,",
    "install_fast_path(whole, {},",
)
CHANGES: dict[str, list[Change]] = {
    "the short way past BentoML's middleware": [NO_FAST_PATH],
    "that, and BentoML's tracing switched off": [
        NO_FAST_PATH,
        ("service.py", 'os.environ["OTEL_SDK_DISABLED"] = "true"', "pass"),
    ],
    "a second call on its way": [
        ("serving/load/forecast.py", "len(ends_s) >= 2 * self.side_by_side", "len(ends_s) >= self.side_by_side")
    ],
    "escalations together in one call": [("serving/settings.py", "Field(default=MAX_BATCH_SIZE", "Field(default=1")],
}
"""What each ablation removes; `changed` stops where a line is not there."""


Pair = TypedDict("Pair", {"with": float, "without": float})  # a class cannot have a field named `with`


def main() -> int:
    published = Published(CASCADE)
    body = {"text": text_of(TOKENS, published.expert), "budget_ms": 1000}
    rows: dict[str, dict[str, Pair]] = {}
    with tempfile.TemporaryDirectory(prefix="sieve-ablation-") as name:
        for number, (what, changes) in enumerate(CHANGES.items()):
            console.print(f"{number + 1} of {len(CHANGES)}: without {what}")
            folder = Path(name) / str(number)
            rows[what] = measured(changed(folder / "code", changes), folder, published, body)
            OUTPUT.parent.mkdir(exist_ok=True)
            listed = [{"without": name, **figures} for name, figures in rows.items()]
            write_json(OUTPUT, {"machine": processor(), "tokens": TOKENS, "rows": listed})
    print(table(rows))
    return 0


def changed(folder: Path, changes: Sequence[Change]) -> Path:
    """Copy the service into `folder` and change these lines; SystemExit where one of them is not there."""
    shutil.copytree(ROOT / "serving", folder / "serving", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("service.py", "dockerfile.py", "pyproject.toml", "bentofile.yaml"):
        shutil.copy(ROOT / file, folder)
    for file, line, other in changes:
        text = (folder / file).read_text()
        if line not in text:
            raise SystemExit(f"benchmarks/ablation.py: {file} has no {line!r} to change; bring CHANGES up to date")
        (folder / file).write_text(text.replace(line, other))
    return folder


def measured(code: Path, folder: Path, published: Published, body: Mapping[str, object]) -> dict[str, Pair]:
    """Medians of rounds in which the service and its copy take turns. `code`: the copy; `folder`: for model stores."""
    with contextlib.ExitStack() as stack:

        def served(place: Path, label: str, *empty: str) -> Running:
            home = make_home(folder / label, published.store, CASCADE, threshold=ALWAYS, empty=empty)
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


def table(rows: Mapping[str, Mapping[str, Pair]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| without | p50 ms, empty, 1 connection | requests/s, empty, 32 | requests/s, expert, 32 |",
        "| --- | ---: | ---: | ---: |",
    ]
    for what, row in rows.items():
        cells = [
            f"{row[key]['without']:.{digits}f} (with: {row[key]['with']:.{digits}f})"
            for key, digits in (("empty_1_p50_ms", 2), ("empty_32_per_s", 0), ("expert_32_per_s", 0))
        ]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)
