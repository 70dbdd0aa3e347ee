"""The most expensive operators of a graph, from ONNX Runtime's own trace.

The trace is Chrome's JSON, for ui.perfetto.dev or chrome://tracing. A node's time is what the executor spent in its
kernel. The time between nodes (scheduling, memory, tracing itself) is reported as a share of its own. On a GPU a node's
time is that of the launch, not of the kernel, so use Nsight there.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optimize.judge.timing import times_in_turn
from optimize.profiling.subject import Cell, Subject
from serving.model.artifact import VariantName
from serving.model.open_session import open_session
from serving.model.session import Session

TOP = 10
_WARM_UP_RUNS = 5
_NODE_SUFFIX = "_kernel_time"


def trace_operators(
    subject: Subject, variant: VariantName, cell: Cell, *, threads: int, runs: int, path: Path
) -> dict[str, Any]:
    """Write ONNX Runtime's trace of a variant to `path`; return the tables of `tabulate` and ms with and without it."""
    plain = Session(subject.artifact, variant, threads=threads)
    prefix = path.with_name(f".{path.stem}")
    traced = open_session(subject.artifact.variant_path(variant), plain.provider_asked, threads, trace_prefix=prefix)
    batch = subject.preprocess.collate(subject.items(cell))
    calls = {
        "untraced": lambda _: plain.run(batch),
        "traced": lambda _: traced.run(["logits"], dict(batch)),
    }
    times = times_in_turn(calls, runs, _WARM_UP_RUNS, title=f"{subject.name} {variant}: operators")
    os.replace(traced.end_profiling(), path)
    events = json.loads(path.read_text(encoding="utf-8"))
    return {
        "trace": path.name,
        "provider": plain.provider_got,
        "batch_size": cell.batch_size,
        "length": cell.length,
        "runs": runs,
        "traced_ms": round(statistics.median(times["traced"]), 4),
        "untraced_ms": round(statistics.median(times["untraced"]), 4),
        **tabulate(events, runs),
    }


def tabulate(events: Sequence[Mapping[str, Any]], runs: int) -> dict[str, Any]:
    """The most expensive operators of the last `runs` runs of a trace, by type and by node.

    Rows are {name, operator, provider, calls, ms, share}; `calls` and `ms` are for one run, shares are of its time.
    `share_not_in_nodes` is the share of the time outside all nodes.
    """
    counted = sorted((event for event in events if event["name"] == "model_run"), key=lambda event: event["ts"])[-runs:]
    begin, run_us = counted[0]["ts"], sum(event["dur"] for event in counted)
    nodes = [
        (
            event["name"].removesuffix(_NODE_SUFFIX),
            event["args"]["op_name"],
            event["args"]["provider"],
            event["dur"],
        )
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(_NODE_SUFFIX) and event["ts"] >= begin
    ]
    by_type = ((operator, operator, provider, us) for _, operator, provider, us in nodes)
    return {
        "run_ms": round(run_us / len(counted) / 1e3, 4),
        "by_type": top(by_type, run_us, runs),
        "by_node": top(nodes, run_us, runs),
        "share_not_in_nodes": round(1 - sum(node[-1] for node in nodes) / run_us, 4),
    }


def top(timed: Iterable[tuple[str, str, str, float]], total_us: float, runs: int) -> list[dict[str, Any]]:
    """Rows of the TOP groups with the most time. `timed` yields (name, operator, provider, microseconds)."""
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for *key, us in timed:
        groups[tuple(key)].append(us)  # type: ignore[index]  # three texts: mypy forgets the length of `*key`
    largest = sorted(groups.items(), key=lambda group: -sum(group[1]))[:TOP]
    return [
        {
            "name": name,
            "operator": operator,
            "provider": provider,
            "calls": len(times) / runs,
            "ms": round(sum(times) / runs / 1e3, 4),
            "share": round(sum(times) / total_us, 4),
        }
        for (name, operator, provider), times in largest
    ]
