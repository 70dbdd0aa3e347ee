"""make audit-cost: what audits and feedback cost the API's path, as requests/s with and without: build/audit-cost.json.

    python -m benchmarks.audit_cost [CASCADE] [--rounds 10] [--seconds 5]

1. for each of WATCHED serves a cascade twice whose screen is always trusted, so that all answers may be drawn: with
   audits at the default share, or with a memory for feedback, and with neither
2. rounds: wrk at 1, 8 and 32 connections on both; they take turns, and each round swaps their order
3. both again, with servers that start in the other order, as `make versions` does for its reason
4. requests/s of both, their ratio as the median of the rounds with its quartiles, and the share that was audited; the
   exit status is 1 where a median is below the bound

wrk and the expert share the cores with the API, so the ratio holds the expert's work on audited items, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TypedDict

from benchmarks.bounds import CONNECTIONS
from benchmarks.command import end_with
from benchmarks.homes import NEVER, make_home
from benchmarks.published import Published
from benchmarks.servers import sieve
from benchmarks.texts import TOKENS, text_of
from benchmarks.versions import SIDES, Row, Side, row
from loadtest.machine import Machine, machine
from loadtest.options import count, positive
from loadtest.pages.files import write_json
from loadtest.traffic.process import Running
from loadtest.traffic.wrk import closed_loop
from optimize.progress import console
from serving.settings import Settings

OUTPUT = Path("build") / "audit-cost.json"
MIN_RATIO = 0.99
"""Audits may cost 1 % of the requests/s."""
NOTHING = "audit_share = 0.0"
WATCHED: Mapping[str, str] = {
    "audits": f"audit_share = {Settings().audit_share}",
    "feedback": f"{NOTHING}\nfeedback_memory = 100000",
}
"""The settings of each, against those of NOTHING."""
TOLD_S = 2.0
"""After so long the service's counts are on its page."""


class AuditCost(TypedDict):
    """build/audit-cost.json. Of the rows, `stage` names one of WATCHED, `this` is with it and `other` without."""

    machine: Machine
    load_average_before: float
    cascade: str
    tokens: int
    audit_share: float
    audited_share: float
    rounds: int
    seconds: float
    min_ratio: float
    rows: list[Row]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_cost", description="What audits cost")
    parser.add_argument("cascade", nargs="?", default="demo-text", help="a cascade of texts (demo-text)")
    parser.add_argument("--rounds", type=count, default=10, help="after either start (10)")
    parser.add_argument("--seconds", type=positive, default=5.0, help="of each measurement (5)")
    options = parser.parse_args()
    busy, published = os.getloadavg()[0], Published(options.cascade)
    body = {"text": text_of(TOKENS, published.expert), "budget_ms": 1000}
    measured: dict[tuple[str, int], list[dict[Side, float]]] = {}
    audited = []
    for what, order in product(WATCHED, (SIDES, SIDES[::-1])):
        with tempfile.TemporaryDirectory(prefix="sieve-audit-cost-") as name, contextlib.ExitStack() as stack:
            servers = {side: stack.enter_context(served(side, what, published, Path(name))) for side in order}
            for number in range(options.rounds):
                console.print(f"{what}: round {number + 1} of {options.rounds}, {order[0]} started first")
                swapped = number % 2 == 1
                for connections, per_s in one_round(servers, body, seconds=options.seconds, swapped=swapped).items():
                    measured.setdefault((what, connections), []).append(per_s)
            time.sleep(TOLD_S)
            if what == "audits":
                audited.append(audited_share(page(servers["this"].url)))
    said: AuditCost = {
        "machine": machine(),
        "load_average_before": round(busy, 1),
        "cascade": options.cascade,
        "tokens": TOKENS,
        "audit_share": Settings().audit_share,
        "audited_share": round(sum(audited) / len(audited), 5),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "min_ratio": MIN_RATIO,
        "rows": [row(*key, rounds, least=MIN_RATIO) for key, rounds in measured.items()],
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, said)
    print(table(said))
    return 0 if all(each["holds"] for each in said["rows"]) else 1


def served(side: Side, what: str, published: Published, folder: Path) -> contextlib.AbstractContextManager[Running]:
    """The cascade, with `what` on the side `this`; its screen is always trusted."""
    home = make_home(folder / side, published.store, published.name, threshold=NEVER)
    settings = folder / f"{side}.toml"
    settings.write_text(f"workers = 1\n{WATCHED[what] if side == 'this' else NOTHING}\n", encoding="utf-8")
    return sieve(home, published.name, settings=settings)


def one_round(
    servers: Mapping[Side, Running], body: Mapping[str, object], *, seconds: float, swapped: bool
) -> dict[int, dict[Side, float]]:
    """Requests/s of both, by connections. `swapped`: the one that watches goes first."""
    order = SIDES if swapped else SIDES[::-1]
    return {
        connections: {
            side: closed_loop(f"{servers[side].url}/classify_text", body, connections=connections, seconds=seconds)[
                "per_s"
            ]
            for side in order
        }
        for connections in CONNECTIONS
    }


def page(url: str) -> str:
    """The metrics of a service."""
    with urllib.request.urlopen(f"{url}/metrics") as reply:  # nosec B310 # an address of ours
        text: str = reply.read().decode()
    return text


def audited_share(metrics: str) -> float:
    """The share of the trusted items that were audited; 0 where nothing was trusted."""
    sums = {
        name: sum(map(float, re.findall(rf"^sieve_{name}\{{.*\}} (\S+)$", metrics, re.MULTILINE)))
        for name in ("audited_total", "audit_trusted_total")
    }
    return sums["audited_total"] / max(1.0, sums["audit_trusted_total"])


def table(said: AuditCost) -> str:
    """The rows in Markdown."""
    lines = [
        "| | connections | requests/s, without | with | with / without (quartiles) | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for each in said["rows"]:
        with_, without = (statistics.median(values) for values in (each["this_per_s"], each["other_per_s"]))
        found = each["ratio"]
        quartiles = f"{found['lower_quartile']:.3f} to {found['upper_quartile']:.3f}"
        holds = "holds" if each["holds"] else f"BELOW {said['min_ratio']:g}"
        cells = (
            each["stage"],
            each["connections"],
            f"{without:.0f}",
            f"{with_:.0f}",
            f"{found['median']:.3f} ({quartiles})",
            holds,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)
