"""Where the time of an answer went: the server's parts (Server-Timing), and the time outside the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from loadtest.traffic.reply import Reply

TAIL_SHARE = 0.05
# The group of each part that the server reports; a part with another name belongs to `other`.
GROUP_OF = {
    "read": "serialization",
    "encode": "serialization",
    "tokenise": "pre-processing",
    "decode": "pre-processing",
    "wait": "queueing",
    "admission": "queueing",
    "queue": "queueing",
    "hop": "network",
    "screen": "inference",
    "expert": "inference",
    "model": "inference",
}
API_PARTS = ("admission", "read", "tokenise", "decode", "screen", "encode")
"""Parts in which the API process itself works."""
GROUPS = ("network", "serialization", "pre-processing", "queueing", "inference", "other", "generator")


class Means(TypedDict):
    """Means in milliseconds over some answers: whole latency, by group, and by the server's own part."""

    latency_ms: float
    groups_ms: dict[str, float]
    server_ms: dict[str, float]


class Breakdown(TypedDict):
    """Means over all answers and over the slowest 5 %; None where there are no answers."""

    all: Means | None
    slowest: Means | None


def grouped(reply: Reply, base_network_ms: float) -> dict[str, float]:
    """Milliseconds of one answer by GROUPS; their sum is its latency.

    `base_network_ms`: time outside the server's clock when nothing queues. Up to that, time outside the server is
    `network`; beyond it the request waited for the server, which is `queueing`. `other` is time inside the server that
    belongs to no part, or all of the time where the server reports nothing.
    """
    parts = reply.parts()
    total = parts.pop("total", None)
    named = sum(parts.values())
    groups = dict.fromkeys(GROUPS, 0.0)
    for name, value in parts.items():
        groups[GROUP_OF.get(name, "other")] += value
    groups["generator"] = max(0.0, reply.lag_ms)
    if total is None and not parts:
        groups["other"] += reply.wire_ms
        return groups
    inside = max(total or 0.0, named)
    groups["other"] += inside - named
    # The server takes the wait from the kernel, which counts in ticks, so it may state more than has passed.
    groups["queueing"] -= min(groups["queueing"], max(0.0, inside - reply.wire_ms))
    outside = max(0.0, reply.wire_ms - inside)
    groups["network"] += min(outside, base_network_ms)
    groups["queueing"] += max(0.0, outside - base_network_ms)
    return groups


def breakdown(answers: Sequence[Reply], base_network_ms: float) -> Breakdown:
    """Means by group and by part: of all answers, and of the slowest 5 %."""
    if not answers:
        return {"all": None, "slowest": None}
    slowest = sorted(answers, key=lambda reply: reply.latency_ms)[-max(1, round(TAIL_SHARE * len(answers))) :]
    return {"all": _means(answers, base_network_ms), "slowest": _means(slowest, base_network_ms)}


def _means(answers: Sequence[Reply], base_network_ms: float) -> Means:
    groups = [grouped(reply, base_network_ms) for reply in answers]
    parts = [reply.parts() for reply in answers]
    names = list(dict.fromkeys(name for each in parts for name in each))
    return {
        "latency_ms": _mean([reply.latency_ms for reply in answers]),
        "groups_ms": {group: _mean([each[group] for each in groups]) for group in GROUPS},
        "server_ms": {name: _mean([each.get(name, 0.0) for each in parts]) for name in names},
    }


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)
