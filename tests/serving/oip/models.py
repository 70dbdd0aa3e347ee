"""Cascades of functions as the protocol's models."""

from __future__ import annotations

from typing import Any

from serving.cascade.served import Served
from serving.http.classifying import Classifying
from serving.http.draining import Draining
from serving.http.guard import Guard
from serving.http.readiness import Readiness
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.oip.models import Models
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from tests.serving.http.test_api import MEMORY_BYTES, modality

VERSION = "v7"
NAMES = {"text": "sms-risk", "image": "digits"}


def model(kind: str = "text", *arguments: Any, **cascade: Any) -> Any:
    """A cascade for texts or images, with a version and digests."""
    made = modality(kind, *arguments, **cascade)
    made.name, made.version, made.digests = NAMES[kind], VERSION, {"screen": "a1", "expert": "b2"}
    return made


def models(**kinds: Any) -> Models:
    return Models(Served(kinds.values()))


class Service:
    """What a running service has beside its models."""

    def __init__(self, metrics: Metrics, drains: str | None = None) -> None:
        self.guard = Guard(Observer(metrics), Admission())
        self.classifying = Classifying(self.guard.turns, MemoryLimit(MEMORY_BYTES))
        self.draining = Draining(drains)
        self.readiness = Readiness(self.draining)
