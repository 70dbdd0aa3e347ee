"""Ties the audit of a cascade to the cascade: its expert, its promise, its threshold."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from pathlib import Path

from serving.arrays import Array, Logits
from serving.audit.auditor import Auditor, Watched
from serving.audit.note import Ways
from serving.audit.share import Share
from serving.audit.shared import SharedState
from serving.audit.state import Rule, Told
from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import Modality
from serving.load.budget import MAX_MS
from serving.model.answer import Answer
from serving.settings import Settings

logger = logging.getLogger("sieve")


def auditor_of(
    modality: Modality,
    settings: Settings,
    folder: Path | None,
    tell: Callable[[Told, Watched], None],
    ways: Ways | None = None,
) -> Auditor | None:
    """The audit of a cascade as the settings want it, None where nothing is promised or nothing is to be audited.

    `folder` is shared with the other processes of this machine; None for a process alone. `ways` lead to workers
    elsewhere, where a broker takes the audit there.
    """
    cascade, escalations = modality.cascade, modality.escalations
    if not settings.audit_share or not cascade.point.promise.certified:
        return None

    async def ask(item: Array) -> Logits:
        return await escalations.ask_when_idle([item], MAX_MS / 1e3)  # as long as the most patient request

    def judge(logits: Logits) -> Answer:
        (answer,) = cascade.expert_head.answers(logits, cascade.labels, cascade.point.expert_temperature)
        return answer

    # The cascade holds its audit: a version that is served no more goes at once only if its audit does not hold it.
    of_cascade = weakref.WeakMethod(modality.rise)

    def rises(threshold: float) -> None:
        if (rise := of_cascade()) is not None:
            rise(threshold)

    rule = rule_of(cascade.point, raises=settings.on_broken == "raise")
    if settings.on_broken == "raise" and not rule.raises:
        logger.warning(
            'on_broken = "raise" needs an operating point with the thresholds that were certified, and %s has none, as '
            "it was chosen by an earlier version; it tells only, until you publish one that you have chosen again with "
            "`python -m optimize operating-point`",
            modality.point_tag,
        )
    return Auditor(
        ask=ask,
        judge=judge,
        rule=rule,
        threshold=cascade.point.threshold,
        share=Share(settings.audit_share),
        shared=SharedState(folder, modality.point_tag, rule),
        rises=rises,
        tell=tell,
        elsewhere=ways.to(modality.digests["expert"], modality.point_tag) if ways is not None else None,
    )


def rule_of(point: OperatingPoint, *, raises: bool) -> Rule:
    """What an operating point promises, and whether its threshold rises along the thresholds that it carries."""
    promise = point.promise
    return Rule(
        alpha=promise.alpha,
        delta=promise.delta,
        thresholds=point.certified_thresholds,
        raises=raises and bool(point.certified_thresholds),
    )
