"""make versions BASE=CHECKOUT: the hot path of this checkout against that of another checkout of the repository.

    python -m benchmarks.versions CHECKOUT [--cascade demo-text] [--rounds 5] [--seconds 3] [--other-models FOLDER]

1. copies the cascade of BentoML's model store twice for each checkout: one that always answers by the screen, one that
   always escalates
2. serves all four copies with `bentoml serve`, each checkout with its own service.py and serving
3. rounds: wrk at 1, 8 and 32 connections on each copy; the two checkouts take turns, and each round swaps their order
4. both again, with servers that start in the other order: on a virtual machine the servers that start first were up to
   10 % slower than the same ones that start last, in processor time for each request
5. build/versions.json: requests/s of both, and the ratio, this checkout over the other one: the geometric mean of a
   round of either start, as the median of the rounds with its quartiles, least and most; the exit status is 1 where a
   median is below the bound

All texts have 32 tokens. Both checkouts run on the Python and the packages of this one. A checkout that reads another
format of artifacts needs a model store of its own with the same cascade.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from benchmarks.bounds import CONNECTIONS
from benchmarks.command import end_with
from benchmarks.homes import ALWAYS, NEVER, make_home
from benchmarks.published import Published
from benchmarks.servers import ROOT, sieve
from benchmarks.texts import TOKENS, text_of
from loadtest.traffic.process import Running
from loadtest.traffic.wrk import closed_loop
from optimize.progress import console
from serving.cpu import processor
from serving.model.artifact import write_json

OUTPUT = Path("build") / "versions.json"
MIN_RATIO = 0.97
"""Least median ratio of requests/s: the new version may be 3 % slower."""
THRESHOLDS = {"screen": NEVER, "expert": ALWAYS}

Side = Literal["this", "other"]
SIDES: tuple[Side, ...] = ("this", "other")
Servers = Mapping[tuple[Side, str], Running]


class Row(TypedDict):
    """One stage at one number of connections. `ratio`: this checkout over the other, by pairs of rounds."""

    stage: str
    connections: int
    this_per_s: list[float]
    other_per_s: list[float]
    ratio: dict[str, float]
    holds: bool


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description="Two checkouts in turn.")
    parser.add_argument("checkout", type=Path, help="the other checkout of this repository")
    parser.add_argument("--cascade", default="demo-text", help="text cascade of the model store (demo-text)")
    parser.add_argument("--other-models", type=Path, help="the other checkout's model store, BENTOML_HOME/models")
    parser.add_argument("--rounds", type=int, default=5, help="after either start (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (3)")
    options = parser.parse_args()
    published = Published(options.cascade)
    checkouts: dict[Side, Path] = {"this": ROOT, "other": options.checkout.resolve()}
    body = {"text": text_of(TOKENS, published.expert), "budget_ms": 1000}
    stores: dict[Side, Path] = {"this": published.store, "other": options.other_models or published.store}
    measured: dict[tuple[str, int], list[dict[Side, float]]] = {}
    for order in (SIDES, SIDES[::-1]):
        with tempfile.TemporaryDirectory(prefix="sieve-versions-") as name, contextlib.ExitStack() as stack:
            servers = start({side: checkouts[side] for side in order}, stores, published, Path(name), stack)
            for number in range(options.rounds):
                console.print(f"round {number + 1} of {options.rounds}, {order[0]} checkout started first")
                for key, per_s in one_round(servers, body, seconds=options.seconds, swapped=number % 2 == 1).items():
                    measured.setdefault(key, []).append(per_s)
    rows = [row(stage, connections, rounds) for (stage, connections), rounds in measured.items()]
    OUTPUT.parent.mkdir(exist_ok=True)
    said = {side: version(folder) for side, folder in checkouts.items()}
    terms = {"cascade": options.cascade, "tokens": TOKENS, "rounds": options.rounds, "seconds": options.seconds}
    write_json(OUTPUT, {"machine": processor(), "versions": said, **terms, "min_ratio": MIN_RATIO, "rows": rows})
    print(table(rows))
    return 0 if all(each["holds"] for each in rows) else 1


def start(
    checkouts: Mapping[Side, Path],
    stores: Mapping[Side, Path],
    published: Published,
    folder: Path,
    stack: contextlib.ExitStack,
) -> dict[tuple[Side, str], Running]:
    """Serve both stages of both checkouts until `stack` ends; SystemExit for a folder without a service."""
    servers: dict[tuple[Side, str], Running] = {}
    for side, code in checkouts.items():
        if not (code / "service.py").is_file():
            raise SystemExit(f"{code}: must be a checkout of this repository, got a folder without service.py")
        for stage, threshold in THRESHOLDS.items():
            console.print(f"starting {side} checkout, {stage}")
            home = make_home(folder / f"{side}-{stage}", stores[side], published.name, threshold=threshold)
            servers[side, stage] = stack.enter_context(sieve(home, published.name, code))
    return servers


def one_round(
    servers: Servers, body: Mapping[str, object], *, seconds: float, swapped: bool
) -> dict[tuple[str, int], dict[Side, float]]:
    """Requests/s of both checkouts, by stage and connections. `swapped`: this checkout goes first."""
    order: tuple[Side, Side] = ("this", "other") if swapped else ("other", "this")
    return {
        (stage, connections): {
            side: closed_loop(
                f"{servers[side, stage].url}/classify_text", body, connections=connections, seconds=seconds
            )["per_s"]
            for side in order
        }
        for stage in THRESHOLDS
        for connections in CONNECTIONS
    }


def row(stage: str, connections: int, rounds: Sequence[Mapping[Side, float]], *, least: float = MIN_RATIO) -> Row:
    """The ratios of the rounds of both starts, one behind the other: median, quartiles, least and most.

    It holds where the median is at least `least`.
    """
    half = len(rounds) // 2
    by_round = [each["this"] / each["other"] for each in rounds]
    ratios = [math.sqrt(one * other) for one, other in zip(by_round[:half], by_round[half:], strict=True)]
    lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    spread = {"median": median, "lower_quartile": lower, "upper_quartile": upper}
    return {
        "stage": stage,
        "connections": connections,
        "this_per_s": [round(each["this"], 1) for each in rounds],
        "other_per_s": [round(each["other"], 1) for each in rounds],
        "ratio": {key: round(value, 4) for key, value in {**spread, "least": min(ratios), "most": max(ratios)}.items()},
        "holds": median >= least,
    }


def version(folder: Path) -> str:
    """The commit of a checkout, with `+changes` where files differ from it."""

    def git(*arguments: str) -> str:
        line = ["git", "-C", str(folder), *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| stage | connections | requests/s, other | this | this / other (quartiles; least to most) | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for each in rows:
        this, other = (statistics.median(values) for values in (each["this_per_s"], each["other_per_s"]))
        r = each["ratio"]
        spread = f"{r['lower_quartile']:.3f} to {r['upper_quartile']:.3f}; {r['least']:.3f} to {r['most']:.3f}"
        holds = "holds" if each["holds"] else f"BELOW {MIN_RATIO:g}"
        lines.append(
            f"| {each['stage']} | {each['connections']} | {other:.0f} | {this:.0f} | {r['median']:.3f} ({spread}) "
            f"| {holds} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)
