"""The bottleneck of a run: the group that takes most of the slowest answers, with the figures that show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from loadtest.verdict.figures import Figures
from loadtest.verdict.parts import API_PARTS, Breakdown, Means

SATURATED = 0.6
"""Utilization of a process from which on its own work makes a queue."""
ADVICE = {
    "network": "look at the way between client and server, or between the API and the expert",
    "serialization": "send less (a raw body, not base64 in JSON), or ask for less",
    "pre-processing": "send smaller images or shorter texts, or give the API more processes (`workers`)",
    "inference": "take a smaller or better quantized model, more threads a session, or a GPU",
    "other": "the server states no parts (Server-Timing): all that is known is that it was not the client",
}


class Bottleneck(TypedDict):
    """The group, what was waited for if it is queueing, its share of the slowest answers, sentences, and advice."""

    group: str | None
    waited_for: str | None
    share: NotRequired[float]
    busy_share: NotRequired[dict[str, float]]
    why: list[str]
    advice: str


def bottleneck(figures: Figures, idle: Breakdown) -> Bottleneck:
    """The group that takes most of the slowest 5 % of the answers, and why.

    `idle`: the breakdown of the same requests when nothing queues. Queueing is a symptom, so it is traced to the
    process whose queue it was, and that process's utilization is given.
    """
    slowest, everyone = figures["parts"]["slowest"], figures["parts"]["all"]
    if slowest is None or everyone is None:
        why = ["no answer came, so nothing can be said"]
        return {"group": None, "waited_for": None, "why": why, "advice": "look at the server's log"}
    groups = {name: ms for name, ms in slowest["groups_ms"].items() if name != "generator"}
    group = max(groups, key=lambda name: groups[name])
    share = groups[group] / max(slowest["latency_ms"], 1e-9)
    why = [
        f"of the {slowest['latency_ms']:.1f} ms that the slowest 5 % take on average, {groups[group]:.1f} ms "
        f"({share:.0%}) are {group}"
    ]
    if (alone := idle["all"]) is not None:
        why.append(f"asked one by one, {group} takes {alone['groups_ms'][group]:.2f} ms of {alone['latency_ms']:.2f}")
    busy = _busy(everyone["server_ms"], alone["server_ms"] if alone else {}, figures)
    waited_for: str | None = None
    if group == "queueing":
        waited_for, sentence, advice = _traced(slowest, busy)
        why.append(sentence)
    else:
        advice = ADVICE[group]
    own = slowest["groups_ms"]["generator"]
    if own > groups[group]:
        why.append(f"the generator itself was late by more than that, {own:.1f} ms: ask it for less to learn more")
    why += [f"at this rate the work of the {name} itself fills {share:.0%} of one" for name, share in busy.items()]
    return {
        "group": group,
        "waited_for": waited_for,
        "share": round(share, 4),
        "busy_share": busy,
        "why": why,
        "advice": advice,
    }


def _traced(slowest: Means, busy: Mapping[str, float]) -> tuple[str, str, str]:
    """The process whose queue the slowest answers waited in, the sentence that shows it, and advice."""
    whole_ms, expert_ms = slowest["groups_ms"]["queueing"], slowest["server_ms"].get("queue", 0.0)
    sentence = f"{expert_ms:.1f} ms of it before the expert, {whole_ms - expert_ms:.1f} before the API process"
    if expert_ms > whole_ms / 2:
        return (
            "expert",
            sentence,
            "the expert is waited for: larger batches, a smaller or faster expert, or more of them",
        )
    if busy.get("API process", 1.0) < SATURATED:
        return (
            "API process",
            sentence,
            "the API process is waited for, though its own work would leave it time: look for what else takes its "
            "core (other processes, this generator), for stalls, or for bursts of arrivals",
        )
    return (
        "API process",
        sentence,
        "the API process cannot keep up: more of them (`workers`), a smaller screen, or less to decode",
    )


def _busy(loaded: Mapping[str, float], idle: Mapping[str, float], figures: Figures) -> dict[str, float]:
    """Utilization of one API process: its milliseconds an answer when nothing queues, times the answers a second.

    A value above 1 is more than one process can do.
    """
    parts = idle or loaded
    rate = sum(figures["outcomes"][kind] for kind in ("ok", "degraded")) / figures["seconds"]
    busy = {"API process": rate * sum(parts.get(part, 0.0) for part in API_PARTS) / 1e3}
    return {name: round(share, 4) for name, share in busy.items() if share}
