"""What the processes of a server hold, and whether that grows: memory, files, threads, sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TypedDict

import psutil
from scipy.stats import theilslopes

SERVICE = "--service-name "
FLAT_SHARE = 0.03
"""What may be added over a whole run: less matters to nobody."""
CONFIDENCE = 0.95


class Held(TypedDict):
    """What the processes of one kind hold together; `pss_mb` shares the memory that several have in common."""

    rss_mb: float
    pss_mb: float
    files: int
    threads: int
    sockets: int


class Trend(TypedDict):
    """How a series changes with time, by Theil and Sen: the median of the slopes between any two of its points.

    `median`: of the values. `added`, and the interval of CONFIDENCE from `low` to `high`: over the whole run.
    """

    what: str
    median: float
    added: float
    low: float
    high: float
    grows: bool


def held(server: int) -> dict[str, Held]:
    """What the server with this process id and its workers hold, by kind: `server`, and the names of services."""
    process = psutil.Process(server)
    kinds: dict[str, Held] = {}
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            line = " ".join(each.cmdline())
            kind = line.partition(SERVICE)[2].split()[0] if SERVICE in line else "server"
            _add(kinds, kind, _held(each))
    return kinds


def _held(process: psutil.Process) -> Held:
    with process.oneshot():
        memory = process.memory_full_info()
        return {
            "rss_mb": memory.rss / 1e6,
            "pss_mb": memory.pss / 1e6,
            "files": process.num_fds(),
            "threads": process.num_threads(),
            "sockets": len(process.net_connections("all")),
        }


def _add(kinds: dict[str, Held], kind: str, one: Held) -> None:
    before = kinds.get(kind)
    if before is None:
        kinds[kind] = one
        return
    kinds[kind] = {
        "rss_mb": before["rss_mb"] + one["rss_mb"],
        "pss_mb": before["pss_mb"] + one["pss_mb"],
        "files": before["files"] + one["files"],
        "threads": before["threads"] + one["threads"],
        "sockets": before["sockets"] + one["sockets"],
    }


def trend(what: str, at_s: Sequence[float], values: Sequence[float]) -> Trend:
    """The trend of a series, at least three points long.

    It grows if the whole interval lies above 0 and more than FLAT_SHARE of the median is added.
    """
    found = theilslopes(values, at_s, alpha=CONFIDENCE)
    over_s, median = at_s[-1] - at_s[0], sorted(values)[len(values) // 2]
    added, low, high = (round(float(slope) * over_s, 3) for slope in (found.slope, found.low_slope, found.high_slope))
    grows = bool(low > 0 and added > FLAT_SHARE * median)
    return {"what": what, "median": round(median, 3), "added": added, "low": low, "high": high, "grows": grows}
