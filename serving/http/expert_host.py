"""What an expert's process has, whether BentoML runs it (`bentoml serve service:TextExpert`) or `expert_process`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.cascade.opening import Entry, Store, find_expert
from serving.cascade.versions import Versions
from serving.ending import in_one_sentence
from serving.garbage import freeze_garbage
from serving.heap import in_one_heap_now
from serving.http.admin import AdminKey, admin_endpoints
from serving.http.draining import Draining
from serving.http.expert_admin import ExpertSwitching
from serving.http.expert_models import ExpertModels, open_expert
from serving.http.gate import OPEN
from serving.http.readiness import Readiness
from serving.model.artifact import Artifact
from serving.model.device import rows_of
from serving.settings import Settings
from serving.watch.expert_metrics import ExpertMetrics
from serving.watch.gpu import watch_gpus
from serving.watch.tracing import TracingSettings, open_tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What surrounds an expert in its process. `metrics`: the folder that the processes of a server share, if any."""

    metrics: Path | None
    draining: Draining
    tracing: TracingSettings | None
    admin: AdminKey


class ExpertHost:
    """The expert of the cascade `name`, opened as `settings` say, and all that its process answers.

    `model` is the one to start with, unless operators of this server have asked for another version, which `store` has
    then. `several`: whether there are other cascades for this kind of input. Ends the process with one sentence where
    the model cannot be opened.
    """

    gate = OPEN  # who may ask an expert, certificates say

    def __init__(
        self, name: str, model: Entry, store: Store, around: Around, *, settings: Settings, several: bool
    ) -> None:
        self.readiness = Readiness(around.draining)  # what follows has ended before the server takes requests
        wanted = Versions(around.metrics).wanted().get(name)
        with in_one_sentence(model.tag):
            chosen = find_expert(store, name, wanted.expert) if wanted else model
            artifact = Artifact.open(Path(chosen.path))
            opened = in_one_heap_now(open_expert, artifact, str(chosen.tag), settings)
        watch_gpus(opened.session.gpus)
        self.readiness.serves = f"{opened.session.variant} on {opened.session.device}"
        label, holds = name if several else "", not opened.golden.against
        metrics = ExpertMetrics(
            opened.kind, around.metrics, holds, cascade=label, most=rows_of(settings), **opened.info
        )
        self.lag, self.models = metrics.lag, ExpertModels(opened, metrics, open_tracer("sieve-expert", around.tracing))
        switching = ExpertSwitching(self.models, store, settings)
        self.endpoints = {**self.models.endpoints, **admin_endpoints([name], switching.switch, around.admin)}
        freeze_garbage()
