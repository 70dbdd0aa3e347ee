"""What a run leaves: run.json, run.html, and its verdict on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtest.pages import pictures
from loadtest.pages.files import page, write_json, write_text
from loadtest.pages.live import console
from loadtest.traffic.reply import Reply
from loadtest.verdict.bottleneck import Bottleneck
from loadtest.verdict.figures import Figures
from loadtest.verdict.objective import Judged
from loadtest.verdict.parts import GROUPS
from loadtest.verdict.payloads import COLUMNS, PayloadRow, cells, name_of
from loadtest.verdict.percentiles import PERCENTILES, EstimateRow
from loadtest.verdict.result import RunResult


def write_run(folder: Path, result: RunResult, replies: Sequence[Reply], deadline_ms: float) -> None:
    """Write run.json and run.html into `folder`."""
    write_json(folder / "run.json", result)
    images = {
        "time": pictures.over_time(replies, deadline_ms),
        "curve": pictures.percentile_curve(replies, deadline_ms),
        "parts": pictures.parts(result["idle"]["parts"], result["figures"]["parts"]),
    }
    payloads = result.get("payloads", [])
    if payloads:
        images["payloads"] = pictures.payloads(payloads)
    html = page(
        "run.html",
        run=result,
        pictures=images,
        groups=GROUPS,
        percentiles=list(PERCENTILES),
        payload_columns=COLUMNS,
        payload_rows=[cells(row) for row in payloads],
    )
    write_text(folder / "run.html", html)


def say_run(result: RunResult, console: Console = console) -> None:
    """Print the figures and the verdict."""
    if not result["valid"]:
        console.print(
            f"INVALID: the generator could not keep its own schedule (p99 {result['generator_lag_p99_ms']:.1f} ms "
            f"late, at most {result['generator_lag_limit_ms']:g}); ask for less, or run it on another machine than the "
            "service"
        )
    if (cut_to_s := result.get("cut_to_s")) is not None:
        console.print(f"the time limit ended the measuring after {cut_to_s:g} s")
    _say_figures(result["figures"], console)
    for row in result.get("payloads", []):
        console.print(_payload(row))
    for judged in result["objective"]:
        console.print(judged_line(judged))
    _say_bottleneck(result["bottleneck"], console)
    console.print("PASSED" if result["passed"] else ("FAILED" if result["valid"] else "INVALID"))


def _say_figures(figures: Figures, console: Console) -> None:
    said = ", ".join(f"{count:,} {kind}" for kind, count in figures["outcomes"].items())
    console.print(f"{figures['requests']:,} requests in {figures['seconds']:g} s: {said}")
    latency = Table("ms, with 95 % intervals", "answers", "all that was asked")
    for name in PERCENTILES:
        latency.add_row(name, interval(figures["latency_ms"][name]), interval(figures["asked_ms"][name]))
    console.print(latency)
    values = {
        "goodput, full answers/s": figures["goodput_per_s"],
        "goodput with degraded answers/s": figures["goodput_with_degraded_per_s"],
        "escalation share": figures["escalation_share"],
        "degraded share": figures["degraded_share"],
        "accuracy": figures["accuracy"],
    }
    for name, value in values.items():
        if value is not None:
            console.print(f"{name}: {value:g}")


def _payload(row: PayloadRow) -> str:
    head = f"{row['item']} as {name_of(row['encoding'], row['item'])}: {row['sent_bytes']:,} bytes"
    if row["latency_ms"] is None:
        return f"{head}, no answer"
    client, server = (
        " + ".join("?" if row[key] is None else f"{row[key]:.0f}" for key in keys)
        for keys in (("client_encode_us", "client_read_us"), ("server_read_us", "server_encode_us"))
    )
    return f"{head}, {row['received_bytes']:,} back; client {client} µs, server {server} µs; {row['latency_ms']:.2f} ms"


def judged_line(row: Judged) -> str:
    """`holds  p99 …: 7.7, at most 50 asked`."""
    mark = "holds" if row["holds"] else "FAILS"
    note = f" ({row['note']})" if row["note"] else ""
    measured = "no answer" if row["measured"] is None else f"{row['measured']:g}"
    return f"{mark}  {row['what']}: {measured}, {row['asked']} asked{note}"


def _say_bottleneck(found: Bottleneck, console: Console) -> None:
    waited_for = f" for the {found['waited_for']}" if found["waited_for"] else ""
    console.print(f"bottleneck: {found['group'] or 'unknown'}{waited_for}")
    for sentence in found["why"]:
        console.print(f"  {sentence}")
    console.print(f"  so: {found['advice']}")


def interval(estimate: EstimateRow) -> str:
    """`12.3 (11.8 to 13.1)`; says so where there were too few samples, or no answer."""
    if estimate["ms"] is None:
        return "no answer"
    high = "no answer" if estimate["high_ms"] is None else f"{estimate['high_ms']:.1f}"
    few = ", too few samples" if estimate["too_few_samples"] else ""
    return f"{estimate['ms']:.1f} ({estimate['low_ms']:.1f} to {high}{few})"
