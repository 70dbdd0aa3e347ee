"""Which part of a request's way holds it up, and the figures that say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.verdict.figures import API_PARTS

SATURATED = 0.6
"""From this share on, queues of their own grow before a process."""
ADVICE = {
    "network": "look at the way between client and server, or between the API and the expert",
    "serialization": "send less (a raw body, not base64 in JSON), or ask for less",
    "pre-processing": "send smaller images or shorter texts, or give the API more processes (`workers`)",
    "inference": "take a smaller or better quantized model, more threads a session, or a GPU",
    "other": "the server states no parts (Server-Timing): all that is known is that it was not the client",
}


def bottleneck(figures: Mapping[str, Any], idle: Mapping[str, Any]) -> dict[str, Any]:
    """The group that takes most of the slowest 5 % of the answers, with sentences that say from what it follows.

    `idle`: the breakdown of the same requests asked one by one. Queueing is a symptom: it is traced to the process that
    was waited for, by how busy each was.
    """
    if not figures["parts"]["all"]:
        why = ["no answer came, so nothing can be said"]
        return {"group": None, "waited_for": None, "why": why, "advice": "look at the server's log"}
    slowest, everyone = figures["parts"]["slowest"], figures["parts"]["all"]
    groups = {name: ms for name, ms in slowest["groups_ms"].items() if name != "generator"}
    group = max(groups, key=lambda name: groups[name])
    share = groups[group] / max(slowest["latency_ms"], 1e-9)
    why = [
        f"of the {slowest['latency_ms']:.1f} ms that the slowest 5 % take on average, {groups[group]:.1f} ms "
        f"({share:.0%}) are {group}"
    ]
    if idle["all"]:
        before = idle["all"]["groups_ms"][group]
        why.append(f"asked one by one, {group} takes {before:.2f} ms of {idle['all']['latency_ms']:.2f}")
    busy = _busy(everyone["server_ms"], (idle["all"] or {}).get("server_ms", {}), figures)
    if group == "queueing":
        queue_ms = slowest["server_ms"].get("queue", 0.0)
        at = "expert" if queue_ms > groups[group] / 2 else "API process"
        why.append(f"{queue_ms:.1f} ms of it before the expert, {groups[group] - queue_ms:.1f} before the API process")
        if at == "expert":
            advice = "the expert is waited for: larger batches, a smaller or faster expert, or more of them"
        elif busy.get("API process", 1.0) < SATURATED:
            advice = (
                "the API process is waited for, though its own work would leave it time: look for what else takes its "
                "core (other processes, this generator), for stalls, or for bursts of arrivals"
            )
        else:
            advice = "the API process cannot keep up: more of them (`workers`), a smaller screen, or less to decode"
    else:
        at, advice = None, ADVICE[group]
    own = slowest["groups_ms"]["generator"]
    if own > groups[group]:
        why.append(f"the generator itself was late by more than that, {own:.1f} ms: ask it for less to learn more")
    why += [f"at this rate the work of the {name} itself fills {share:.0%} of one" for name, share in busy.items()]
    return {
        "group": group,
        "waited_for": at,
        "share": round(share, 4),
        "busy_share": busy,
        "why": why,
        "advice": advice,
    }


def _busy(loaded: Mapping[str, float], idle: Mapping[str, float], figures: Mapping[str, Any]) -> dict[str, float]:
    """Share of a second that one API process would be at work on the answers of a second: parts as they are when
    nothing queues, times the rate of answers. More than 1 is more than one process can do.
    """
    parts = idle or loaded
    rate = sum(figures["outcomes"][kind] for kind in ("ok", "degraded")) / figures["seconds"]
    busy = {"API process": rate * sum(parts.get(part, 0.0) for part in API_PARTS) / 1e3}
    return {name: round(share, 4) for name, share in busy.items() if share}
