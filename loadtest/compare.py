"""The verb `compare`: the highest goodput of several services at one objective, measured in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.errors import LimitError
from loadtest.measuring.contender import Contender, Subject
from loadtest.measuring.search import Found
from loadtest.pages import pictures
from loadtest.pages.files import page, write_json, write_text
from loadtest.pages.live import console
from loadtest.traffic.plan import Plan
from loadtest.verdict.comparison import Comparison, Rounds, coverage, reasons, summary
from loadtest.verdict.objective import Objective


def compare(
    contenders: Sequence[Contender], plan: Plan, objective: Objective, *, rounds: int, folder: Path
) -> Comparison:
    """Serve all contenders at once and measure them in turn, `rounds` times.

    Writes compare.json and compare.html after every round, so an interrupted run keeps what it measured. Where the
    plan's limit ends a round early, those before it count. Raises LoadTestError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    measured = {contender.name: Rounds() for contender in contenders}
    with contextlib.ExitStack() as stack:
        subjects: dict[str, Subject] = {}
        for contender in contenders:
            console.print(f"starting {contender.name}")
            log = folder / f"{contender.name.replace(' ', '-')}.log"
            subjects[contender.name] = stack.enter_context(contender.served(plan, objective, log))
        for number in range(1, rounds + 1):
            try:
                one_round(subjects, measured, title=f"round {number} of {rounds}", seed=number)
            except LimitError:
                if number == 1:
                    raise
                console.print(f"the time limit ended round {number}, which does not count")
                break
            write(folder, summary(measured, plan, objective))
    return summary(measured, plan, objective)


def one_round(subjects: Mapping[str, Subject], measured: Mapping[str, Rounds], *, title: str, seed: int) -> None:
    """Find the highest goodput of each service once, and add it to `measured` when that of all is known."""
    highest: dict[str, Found] = {}
    for name, subject in subjects.items():
        start = max(measured[name].goodput_per_s, default=0.0) or subject.start_per_s
        found = highest[name] = subject.highest(start, seed=seed)
        console.print(f"{title}: {name}: {found.goodput_per_s:.0f}/s ({found.runs} runs)")
    for name, found in highest.items():
        own = measured[name]
        own.goodput_per_s.append(found.goodput_per_s)
        own.p99_ms.append(found.result["figures"]["asked_ms"]["p99"]["ms"] if found.result else None)
        own.broken_by.append(reasons(found.broken))


def write(folder: Path, result: Comparison) -> None:
    """Write compare.json and compare.html."""
    write_json(folder / "compare.json", result)
    rounds = len(result["rows"][0]["rounds"])
    values = {"picture": pictures.ladder(result["rows"]), "coverage": coverage(rounds)}
    write_text(folder / "compare.html", page("compare.html", result=result, **values))
