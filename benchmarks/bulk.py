"""make bulk: rows/s of `score` against the models alone on the same rows, in the same run: build/bulk.json.

Rounds in turn: the whole command (read, tokenise, sort, run, write) on a table in CSV, and the same batches of both
models on items that are prepared, sorted and batched already. The ratio says what everything beside the models costs.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from benchmarks.command import end_with
from loadtest.machine import Machine, machine
from loadtest.pages.files import write_json
from optimize.data.payments import generate
from optimize.publish.cascades import open_cascade
from optimize.score.asked import Asked
from optimize.score.run import score
from optimize.score.scorer import Scorer
from optimize.score.stage import Stage
from serving.arrays import Array
from serving.cascade.deferral import should_defer
from serving.cascade.modality import StoredCascade
from serving.cpu import cores
from serving.model.text import TextEncoder


class Bulk(TypedDict):
    """build/bulk.json. Rows/s and their ratio of each round, with the medians of the ratios."""

    machine: Machine
    load_average_before: float
    cascade: str
    rows: int
    threads: int
    escalated_share: float
    score_per_s: list[float]
    models_per_s: list[float]
    ratio: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description="score against the models alone")
    parser.add_argument("cascade", nargs="?", default="demo-text", help="a cascade of texts (demo-text)")
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores())
    options = parser.parse_args()
    load = os.getloadavg()[0]
    cascade = open_cascade(options.cascade)
    texts = [text for text, _ in generate(options.rows, seed=17)]
    with tempfile.TemporaryDirectory() as folder:
        measured = rounds(cascade, texts, Path(folder), options.rounds, options.threads)
    said: Bulk = {
        "machine": machine(),
        "load_average_before": round(load, 1),
        "cascade": options.cascade,
        "rows": options.rows,
        "threads": options.threads,
        **measured,
    }
    write_json(Path("build") / "bulk.json", said)
    print(table(said))
    return 0


class Measured(TypedDict):
    """The part of `Bulk` that the rounds give."""

    escalated_share: float
    score_per_s: list[float]
    models_per_s: list[float]
    ratio: float


def rounds(cascade: StoredCascade, texts: Sequence[str], folder: Path, count: int, threads: int) -> Measured:
    """Run the command and the models alone in turn, `count` times."""
    with (folder / "in.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text",), *((text,) for text in texts)])
    score_per_s, models_per_s = [], []
    share = 0.0
    scorer = Scorer(cascade, threads=threads)
    screen_items, expert_items = items_of_both(scorer, texts)
    for number in range(count):
        summary = score(cascade, folder / "in.csv", folder / f"out-{number}.csv", Asked(), threads=threads)
        share = float(summary["escalated_share"])
        score_per_s.append(round(float(summary["rows_per_s"]), 1))
        took_s = models_alone(((scorer.screen, screen_items), (scorer.expert, expert_items)), threads)
        models_per_s.append(round(len(texts) / took_s, 1))
    scorer.close()
    ratios = [ours / theirs for ours, theirs in zip(score_per_s, models_per_s, strict=True)]
    return {
        "escalated_share": share,
        "score_per_s": score_per_s,
        "models_per_s": models_per_s,
        "ratio": round(statistics.median(ratios), 3),
    }


def items_of_both(scorer: Scorer, texts: Sequence[str]) -> tuple[list[Array], list[Array]]:
    """The items of the screen, and those of the expert for the texts that the screen defers."""
    ours, theirs = scorer.screen.preprocess, scorer.expert.preprocess
    assert isinstance(ours, TextEncoder), "the benchmark scores texts"
    assert isinstance(theirs, TextEncoder)
    items = [item for item, _ in ours.items(texts)]
    with ThreadPoolExecutor(1) as pool:
        answers = scorer.screen.answers(items, pool)
    deferred = [text for text, answer in zip(texts, answers, strict=True) if should_defer(answer, scorer.point)]
    return items, [item for item, _ in theirs.items(deferred)]


def models_alone(work: Sequence[tuple[Stage, Sequence[Array]]], threads: int) -> float:
    """Seconds that the models take for items that are ready."""
    with ThreadPoolExecutor(threads) as pool:
        begin_s = time.monotonic()
        for stage, items in work:
            stage.logits(items, pool)
        return time.monotonic() - begin_s


def table(said: Bulk) -> str:
    """Medians with the lowest and the highest of the rounds, in Markdown."""

    def spread(per_s: Sequence[float]) -> str:
        return f"{statistics.median(per_s):,.0f} ({min(per_s):,.0f} to {max(per_s):,.0f})"

    head = "| cascade | rows | threads | escalated | rows/s, score | rows/s, models alone | ratio |"
    cells = [said["cascade"], f"{said['rows']:,}", str(said["threads"]), f"{said['escalated_share']:.1%}"]
    cells += [spread(said["score_per_s"]), spread(said["models_per_s"]), f"{said['ratio']:.2f}"]
    return f"{head}\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n| {' | '.join(cells)} |"


if __name__ == "__main__":
    end_with(main)
