"""Files of docs/measured/figures as Markdown, as the commands that measured them print them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import (
    audit_cost,
    autoscaling,
    bench_tables,
    bert_int8,
    broken,
    bulk,
    decoding,
    int8,
    large_data,
    memory,
    new_recipes,
    overload_back_result,
    photographs,
    protocols,
    soak_result,
    unlabelled,
    workers,
    zipf,
)
from benchmarks.audit_cost import AuditCost
from benchmarks.autoscaling import Autoscaling
from benchmarks.bert_int8 import BertInt8
from benchmarks.broken import Broken
from benchmarks.bulk import Bulk
from benchmarks.decoding import Decoding
from benchmarks.int8 import Int8
from benchmarks.memory import Memory
from benchmarks.new_recipes import NewRecipes
from benchmarks.overload_back_result import Back
from benchmarks.photographs import Photographs
from benchmarks.protocols import Protocols
from benchmarks.soak_result import Soak
from benchmarks.workers import Workers
from benchmarks.zipf import Zipf
from loadtest import capacity, mlperf
from loadtest.capacity import CapacityResult
from loadtest.gpu.table import gpu_table
from loadtest.machine import Machine
from loadtest.mlperf import Mlperf
from loadtest.pages import overload, report
from loadtest.tune import TuneResult
from loadtest.verdict import comparison, peers
from loadtest.verdict.comparison import Comparison
from loadtest.verdict.peers import Peers
from loadtest.verdict.result import RunResult
from loadtest.verdict.steps import OverloadResult

CONSOLE_WIDTH = 80


def figure_block(path: Path) -> str:
    """The Markdown of one file, by its name."""
    kinds: Mapping[str, Callable[[Any], str]] = {
        "run": run_block,
        "overload": overload_block,
        "bench": bench_block,
        "compare": comparison_block,
        "tune": tune_block,
        "capacity": capacity_block,
        "bulk": bulk_block,
        "decoding": decoding_block,
        "int8": int8_block,
        "bert": bert_int8_block,
        "autoscaling": autoscaling_block,
        "protocols": protocols_block,
        "unlabelled": unlabelled_block,
        "new": new_recipes_block,
        "large": large_data_block,
        "broken": broken_block,
        "soak": partial(soak_block, path.stem),
        "overload-back": overload_back_block,
        "zipf": zipf_block,
        "gpu": gpu_block,
        "audit-cost": audit_cost_block,
        "peers": peers_block,
        "mlperf": mlperf_block,
        "memory": memory_block,
        "workers": workers_block,
        "photographs": photographs_block,
    }
    name = path.stem if path.stem in kinds else path.stem.partition("-")[0]
    return kinds[name](json.loads(path.read_text(encoding="utf-8")))


def run_block(result: RunResult) -> str:
    plan: Mapping[str, Any] = result["plan"]
    asked = f"{plan['arrivals']}, {plan['seconds']:g} s after {plan['warm_up_s']:g} s of warm-up"
    files = f"{plan['texts'] or 'a few texts'}, {plan['images'] or 'generated images'}"
    asked += f", {plan['mix']['image_share']:.0%} images; {files}"
    # Into a file: a terminal would have colours.
    file = io.StringIO()
    report.say_run(result, Console(file=file, width=CONSOLE_WIDTH, color_system=None, legacy_windows=False))
    printed = "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())
    return f"{described(result['machine'])}; {asked}:\n\n```\n{printed}```\n"


def overload_block(result: OverloadResult) -> str:
    plan: Mapping[str, Any] = result["plan"]
    saturation = f"saturation {result['saturation']['per_s']:.0f} requests/s ({result['saturation']['found']})"
    terms = f"budget {plan['budget_ms']:g} ms, in time within {result['deadline_ms']:g}"
    asked = f"{terms}, lag at most {result['lag_limit_ms']:g}; {plan['texts'] or 'a few texts'}"
    verdict = "".join(f"- {report.judged_line(row)}\n" for row in result["objective"])
    picture = "![requests/s by outcome, and latency, by multiples of saturation](measured/figures/overload.svg)"
    head = f"{described(result['machine'])}; {saturation}; {asked}. {overload.title(result).capitalize()}:"
    return f"{head}\n\n{overload.steps_table(result['steps'])}\n\n{verdict}\n{picture}\n"


def bench_block(report: Mapping[str, Any]) -> str:
    load = f"load average before it {report['load_average_before']:.1f}"
    return (
        f"{cores_of(report['machine'])}; texts of {report['tokens']} tokens; {load}.\n\n{bench_tables.tables(report)}\n"
    )


def capacity_block(result: CapacityResult) -> str:
    return f"{described(result['machine'])}:\n\n{capacity.table(result)}\n"


def bulk_block(result: Bulk) -> str:
    machine, count = result["machine"], len(result["score_per_s"])
    load = f"load average before it {result['load_average_before']:g}"
    taken = f"medians of {count} rounds in turn, lowest to highest"
    return f"{cores_of(machine)}; {taken}; {load}:\n\n{bulk.table(result)}\n"


def decoding_block(result: Decoding) -> str:
    return f"{result['machine']['processor']}:\n\n{decoding.table(result)}\n"


def int8_block(result: Int8) -> str:
    on = f"{result['machine']['processor']}, {'with' if result['vnni'] else 'without'} VNNI, one thread"
    taken = f"medians of {result['rounds']} rounds in turn with quartiles"
    load = f"load average before it {result['load_average_before']:g}"
    return f"{on}; {taken}; {load}:\n\n{int8.table(result['rows'])}\n"


def bert_int8_block(result: BertInt8) -> str:
    on = f"{result['machine']['processor']}, {'with' if result['vnni'] else 'without'} VNNI, one thread"
    taken = f"medians of {result['rounds']} rounds in turn"
    load = f"load average before it {result['load_average_before']:g}"
    return f"{on}; {taken}; {load}:\n\n{bert_int8.table(result['rows'])}\n"


def autoscaling_block(result: Autoscaling) -> str:
    return f"{autoscaling.table(result['rows'])}\n"


def protocols_block(result: Protocols) -> str:
    rounds = len(result["rows"][0]["rounds"])
    taken = f"{rounds} rounds in turn of {result['seconds']:g} s: medians; {result['connections']} connections"
    interval = f"ratios with intervals of {comparison.coverage(rounds):.0%}"
    load = f"{result['images'] or 'generated images'}; load average before it {result['load_average_before']:g}"
    return f"{described(result['machine'])}; {taken}; {interval}; {load}.\n\n{protocols.tables(result)}\n"


def unlabelled_block(result: Mapping[str, Any]) -> str:
    return f"{result['machine']['processor']}; {unlabelled.table(result)}\n"


def new_recipes_block(result: NewRecipes) -> str:
    on = cores_of(result["machine"])
    return f"{on}; checkpoint `{result['checkpoint']}`:\n\n{new_recipes.table(result['rows'])}\n"


def large_data_block(result: Mapping[str, Any]) -> str:
    return f"{result['machine']['processor']}:\n\n```\n{large_data.summary(result)}\n```\n"


def broken_block(result: Broken) -> str:
    asked = f"{result['cascade']}, {result['rate']:g} requests/s with a budget of {result['budget_ms']:g} ms"
    load = f"load average before it {result['load_average_before']:g}"
    return f"{described(result['machine'])}; {asked}; {load}.\n\n{broken.tables(result)}\n"


def overload_back_block(result: Back) -> str:
    machine, core = result["machine"], result["core"]
    saturation = f"saturation {result['saturation']['per_s']:.0f} requests/s ({result['saturation']['found']})"
    asked = f"{result['cascade']}, budget {result['budget_ms']:g} ms; {saturation}"
    load = f"load average before it {result['load_average_before']:g}"
    on = described(machine) if core is None else f"{cores_of(machine)}, of which the generator had one alone"
    return f"{on}; {asked}; {load}.\n\n{overload_back_result.table(result)}\n"


def soak_block(name: str, result: Soak) -> str:
    asked = f"{result['cascade']}, {result['rate']:g} requests/s with a budget of {result['budget_ms']:g} ms"
    load = f"load average before it {result['load_average_before']:g}"
    picture = f"![memory, files, threads, sockets and p99 over time](measured/figures/{name}.svg)"
    return f"{described(result['machine'])}; {asked}; {load}.\n\n{soak_result.table(result)}\n\n{picture}\n"


def zipf_block(result: Zipf) -> str:
    rounds = len(result["rows"][0]["rounds"])
    taken = f"{rounds} rounds in turn of {result['seconds']:g} s: medians; {result['connections']} connections"
    asked = f"{result['cascade']}, {result['texts']:,} texts, exponent {result['exponent']:g}"
    interval = f"ratio with its interval of {comparison.coverage(rounds):.0%}"
    load = f"load average before it {result['load_average_before']:g}"
    return f"{described(result['machine'])}; {asked}; {taken}; {interval}; {load}.\n\n{zipf.table(result)}\n"


def audit_cost_block(result: AuditCost) -> str:
    taken = f"{result['rounds']} rounds of four parts of {result['seconds']:g} s: medians"
    asked = f"{result['cascade']}, texts of {result['tokens']} tokens, all of them trusted"
    audited = f"share {result['audit_share']:g}, of which {result['audited_share']:.2%} of all were audited"
    shadowed = f"the shadow's {result['shadow_share']:g}, of which {result['compared_share']:.0%} were compared"
    load = f"{shadowed}; load average before it {result['load_average_before']:g}"
    return f"{described(result['machine'])}; {asked}; {taken}; {audited}; {load}.\n\n{audit_cost.table(result)}\n"


def peers_block(result: Peers) -> str:
    rounds = max(len(row["rounds"]) for row in result["rows"])
    taken = f"{rounds} rounds in turn, closed loops of {result['seconds']:g} s: medians, lowest to highest"
    interval = f"ratios with intervals of {comparison.coverage(rounds):.0%}"
    others = f"other servers are {result['others']}; load average before it {result['load_average_before']:g}"
    return f"{described(result['machine'])}; {taken}; {interval}; {others}.\n\n{peers.peers_table(result)}\n"


def mlperf_block(result: Mlperf) -> str:
    asked = f"p99 {result['limit_ms']:g} ms, {result['plan']['texts'] or 'a few texts'}"
    return f"{described(result['machine'])}; {asked}.\n\n{mlperf.table(result)}\n"


def memory_block(result: Memory) -> str:
    load = f"load average before it {result['load_average_before']:g}"
    return f"{cores_of(result['machine'])}; {', '.join(result['cascades'])}; {load}.\n\n{memory.table(result)}\n"


def workers_block(result: Workers) -> str:
    rounds, core = len(result["rows"][0]["rounds"]), result["client_core"]
    taken = f"{rounds} rounds in turn of {result['seconds']:g} s: medians; 32 connections of wrk"
    where = "that wrk shared" if core is None else "and one more for wrk alone"
    load = f"load average before it {result['load_average_before']:g}"
    on = f"{result['machine']['processor']}, {result['cores']} cores {where}"
    return f"{on}; {taken}; {load}.\n\n{workers.table(result)}\n"


def photographs_block(result: Photographs) -> str:
    machine, load = result["comparison"]["machine"], f"load average before it {result['load_average_before']:g}"
    return f"{described(machine)}; {result['photographs']} photographs; {load}.\n\n{photographs.tables(result)}\n"


def comparison_block(result: Comparison) -> str:
    count = len(result["rows"][0]["rounds"])
    intervals = f"ratios with intervals of {comparison.coverage(count):.0%}"
    rounds = f"{count} rounds: medians, lowest to highest; {intervals}"
    return f"{described(result['machine'])}; {rounds}.\n\n{comparison.table(result)}\n"


def tune_block(result: TuneResult) -> str:
    trials = len(result["trials"])
    if result["settings"] == result["defaults"]:
        found = f"What was best in {trials} trials was no better when it took turns: the defaults stay."
    else:
        settings = ", ".join(f"`{key}` {value:g}" for key, value in result["settings"].items())
        found = f"Found in {trials} trials: {settings}."
    return f"{comparison_block(result['comparison'])}\n{found}\n"


def described(machine: Machine) -> str:
    """The machine that a service and its generator ran on."""
    return f"{cores_of(machine)} that the generator shared"


def cores_of(machine: Machine) -> str:
    """The processor, and how many cores it has."""
    return f"{machine['processor']}, {machine['cores']} cores"


def gpu_block(result: dict[str, Any]) -> str:
    """What `loadtest gpu` measured."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    peaks = f"; peaks: {result['source_of_peaks']}" if result["source_of_peaks"] else ""
    head = f"{described(result['machine'])}; {result['chip']} in {result['precision']}; {versions}{peaks}."
    return f"{head}\n\n{gpu_table(result)}"
