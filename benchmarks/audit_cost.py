"""make audit-cost: what audits, feedback and a shadow cost, as ratios with and without: build/audit-cost.json.

    python -m benchmarks.audit_cost [CASCADE] [--rounds 10] [--seconds 5]

1. for each of WATCHED serves a cascade twice whose screen is always trusted, so that all answers may be drawn: with
   audits at the default share, with a memory for feedback, or with a copy of the cascade as its shadow; and with none
2. rounds: wrk at 1, 8 and 32 connections on both; they take turns, and each round swaps their order
3. both again, with servers that start in the other order, as `make versions` does for its reason
4. two ratios, each as the median of the rounds with its quartiles: requests for a second of the API's processor, which
   is the API's path, and requests/s. wrk and the experts share the cores with the API, so the second one holds the
   experts' work on audited items, and is of this machine
5. the exit status is 1 where a median is below the bound that audits and feedback have

Of a shadow it is said which share of the answers it was asked about: a busy service drops the others.
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
from typing import NamedTuple, TypedDict

from benchmarks.bounds import CONNECTIONS
from benchmarks.command import end_with
from benchmarks.homes import NEVER, add_copy, make_home
from benchmarks.published import Published
from benchmarks.servers import child, sieve
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
"""Audits and feedback may cost 1 %."""
NOTHING = "audit_share = 0.0"
WATCHED: Mapping[str, str] = {
    "audits": f"audit_share = {Settings().audit_share}",
    "feedback": f"{NOTHING}\nfeedback_memory = 100000",
    "shadow": NOTHING,
}
"""The settings of each, against those of NOTHING. The shadow's share is the default."""
SHADOW = "copy-of-it"
TOLD_S = 2.0
"""After so long the service's counts are on its page."""
LINE_S = 0.3
"""Within so long what waits in a line when the client ends is worked off, and is part of the measurement."""


class Found(NamedTuple):
    """Of one measurement: requests for a second of the API's processor, and for one of the clock."""

    per_cpu_s: float
    per_s: float


class AuditCost(TypedDict):
    """build/audit-cost.json. Of the rows, `stage` names one of WATCHED, `this` is with it and `other` without.

    `path_rows` are of requests for a second of the API's processor, `rows` of requests/s.
    """

    machine: Machine
    load_average_before: float
    cascade: str
    tokens: int
    audit_share: float
    audited_share: float
    shadow_share: float
    compared_share: float
    rounds: int
    seconds: float
    min_ratio: float
    path_rows: list[Row]
    rows: list[Row]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_cost", description="What audits cost")
    parser.add_argument("cascade", nargs="?", default="demo-text", help="a cascade of texts (demo-text)")
    parser.add_argument("--rounds", type=count, default=10, help="after either start (10)")
    parser.add_argument("--seconds", type=positive, default=5.0, help="of each measurement (5)")
    options = parser.parse_args()
    busy, published = os.getloadavg()[0], Published(options.cascade)
    body = {"text": text_of(TOKENS, published.expert), "budget_ms": 1000}
    measured: dict[tuple[str, int], list[dict[Side, Found]]] = {}
    shares: dict[str, list[float]] = {what: [] for what in WATCHED}
    for what, order in product(WATCHED, (SIDES, SIDES[::-1])):
        with tempfile.TemporaryDirectory(prefix="sieve-audit-cost-") as name, contextlib.ExitStack() as stack:
            servers = {side: stack.enter_context(served(side, what, published, Path(name))) for side in order}
            for number in range(options.rounds):
                console.print(f"{what}: round {number + 1} of {options.rounds}, {order[0]} started first")
                swapped = number % 2 == 1
                for connections, found in one_round(servers, body, seconds=options.seconds, swapped=swapped).items():
                    measured.setdefault((what, connections), []).append(found)
            time.sleep(TOLD_S)
            shares[what].append(looked_at(what, page(servers["this"].url)))
    said: AuditCost = {
        "machine": machine(),
        "load_average_before": round(busy, 1),
        "cascade": options.cascade,
        "tokens": TOKENS,
        "audit_share": Settings().audit_share,
        "audited_share": round(statistics.mean(shares["audits"]), 5),
        "shadow_share": Settings().shadow_share,
        "compared_share": round(statistics.mean(shares["shadow"]), 5),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "min_ratio": MIN_RATIO,
        "path_rows": rows(measured, "per_cpu_s"),
        "rows": rows(measured, "per_s"),
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, said)
    print(table(said))
    return 0 if all(each["holds"] for each in said["path_rows"] + said["rows"]) else 1


def rows(measured: Mapping[tuple[str, int], list[dict[Side, Found]]], what: str) -> list[Row]:
    """The ratios of one field of Found. A shadow has no bound."""
    return [
        row(
            *key,
            [{side: getattr(found, what) for side, found in each.items()} for each in rounds],
            least=0.0 if key[0] == "shadow" else MIN_RATIO,
        )
        for key, rounds in measured.items()
    ]


def served(side: Side, what: str, published: Published, folder: Path) -> contextlib.AbstractContextManager[Running]:
    """The cascade, with `what` on the side `this`; its screen is always trusted."""
    home = make_home(folder / side, published.store, published.name, threshold=NEVER)
    settings = folder / f"{side}.toml"
    settings.write_text(f"workers = 1\n{WATCHED[what] if side == 'this' else NOTHING}\n", encoding="utf-8")
    shadow = SHADOW if (what, side) == ("shadow", "this") else ""
    if shadow:
        add_copy(home, published.name, shadow)
    return sieve(home, published.name, settings=settings, shadow=shadow)


def one_round(
    servers: Mapping[Side, Running], body: Mapping[str, object], *, seconds: float, swapped: bool
) -> dict[int, dict[Side, Found]]:
    """What both give, by connections. `swapped`: the one that watches goes first."""
    order = SIDES if swapped else SIDES[::-1]
    return {
        connections: {side: one(servers[side], body, connections, seconds) for side in order}
        for connections in CONNECTIONS
    }


def one(server: Running, body: Mapping[str, object], connections: int, seconds: float) -> Found:
    """One measurement."""
    before_s = api_s(server)
    figures = closed_loop(f"{server.url}/classify_text", body, connections=connections, seconds=seconds)
    time.sleep(LINE_S)
    return Found(per_cpu_s=figures["requests"] / (api_s(server) - before_s), per_s=figures["per_s"])


def api_s(server: Running) -> float:
    """Seconds of the processor that the API has used until now, those of the kernel for it among them."""
    times = child(server, "--service-name sieve").cpu_times()
    return float(times.user + times.system)


def page(url: str) -> str:
    """The metrics of a service."""
    with urllib.request.urlopen(f"{url}/metrics") as reply:  # nosec B310 # an address of ours
        text: str = reply.read().decode()
    return text


def looked_at(what: str, metrics: str) -> float:
    """The share of the trusted items that were audited, or of the answers that were compared; 0 where none was."""
    if what == "shadow":
        compared = _sum(metrics, 'shadow_items_total{(?!.*outcome="dropped").*}')
        return compared / max(1.0, _sum(metrics, "answers_total{.*}"))
    return _sum(metrics, "audited_total{.*}") / max(1.0, _sum(metrics, "audit_trusted_total{.*}"))


def _sum(metrics: str, series: str) -> float:
    """The sum of the series that the pattern matches."""
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if re.match(f"sieve_{series} ", line))


def table(said: AuditCost) -> str:
    """The rows in Markdown."""
    path, clock = "requests for a second of the API's processor", "requests/s"
    return f"{_table(said, said['path_rows'], path)}\n\n{_table(said, said['rows'], clock)}"


def _table(said: AuditCost, rows: list[Row], what: str) -> str:
    lines = [
        f"| | connections | {what}, without | with | with / without (quartiles) | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for each in rows:
        with_, without = (statistics.median(values) for values in (each["this_per_s"], each["other_per_s"]))
        found = each["ratio"]
        quartiles = f"{found['lower_quartile']:.3f} to {found['upper_quartile']:.3f}"
        holds = "holds" if each["holds"] else f"BELOW {said['min_ratio']:g}"
        holds = "no bound" if each["stage"] == "shadow" else holds
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
