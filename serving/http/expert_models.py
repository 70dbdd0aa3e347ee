"""The artifacts that an expert's process serves: one, and around a switch the one before it as well.

A call names the artifact that it wants (`serving.http.expert_app`). So the API's processes switch one after the other,
each with its screen, and none of them gets an answer of the wrong expert. The one before is let go when nobody has
asked for it for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from serving.expert.call import Ran
from serving.expert.worker import Worker
from serving.heap import give_back, mapped_apart
from serving.http.expert_app import Check, InferCall, etag_of, expert_endpoints, few_at_a_time
from serving.http.fast_path import Endpoint
from serving.model.apart import Run, apart
from serving.model.artifact import Artifact
from serving.model.device import Wanted, rows_of
from serving.model.golden import GoldenCheck, check_golden
from serving.model.preprocess import check_items, collator, example_items
from serving.model.runner import Runner
from serving.model.session import Session, model_labels
from serving.settings import Settings
from serving.watch.expert_metrics import ExpertMetrics
from serving.watch.tracing import Tracer

UNUSED_S = 60.0
"""Each process of the API looks at its expert four times as often (`serving.cascade.promise`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedExpert:
    """An artifact of an expert, whose session is open and warm, and what became of its golden items."""

    tag: str
    digest: str
    kind: str
    session: Session
    golden: GoldenCheck
    run: Run
    check: Check
    info: dict[str, str]
    """What a metric says of it."""


def open_expert(artifact: Artifact, tag: str, settings: Settings) -> OpenedExpert:
    """Open an artifact, warm it up and run its golden items. Raises ArtifactError if these cannot be read."""
    with mapped_apart():
        return _opened(artifact, tag, settings)


def _opened(artifact: Artifact, tag: str, settings: Settings) -> OpenedExpert:
    session = Session(artifact, threads=settings.expert_threads, wanted=Wanted.of(settings))
    takes, runner = artifact.manifest.settings, Runner(session, collator(artifact), rows_of(settings))
    runner.warm_up(takes)
    return OpenedExpert(
        tag=tag,
        digest=artifact.digest,
        kind=takes.kind,
        session=session,
        golden=check_golden(artifact, runner),
        run=apart(runner.run, example_items(takes)[0]),
        check=partial(check_items, takes),
        info={"model": tag, **model_labels(artifact, session)},
    )


@dataclass(slots=True)
class _Served:
    expert: OpenedExpert
    run: Run
    endpoints: Mapping[str, Endpoint]
    asked_s: float = field(default_factory=time.monotonic)


class ExpertModels:
    """Serves `first`, and after `serve` another one beside it.

    `metrics` are those of `first`, and are told of the others.
    """

    def __init__(self, first: OpenedExpert, metrics: ExpertMetrics, tracer: Tracer | None = None) -> None:
        self._metrics, self.tracer = metrics, tracer
        # For all that are served: of two calls that share a core, neither ends sooner and the first ends later.
        self.lanes = first.session.lanes
        self._worker: Worker[Ran] = Worker(InferCall.ran, self.lanes)
        self.turns = self._worker.turns
        self._by_etag: dict[str, _Served] = {}
        self.serve(first)
        self.endpoints = {**self._current.endpoints, "/infer": self._infer, "/model": self._model}

    def serve(self, expert: OpenedExpert) -> None:
        """Serve an expert from now on, also to callers that name none."""
        run = few_at_a_time(expert.run, self._metrics.ran, expert.session.lanes)
        endpoints = expert_endpoints(
            expert.digest,
            expert.session,
            expert.golden,
            run,
            self._metrics,
            self.tracer,
            expert.check,
            self._worker,
        )
        self._current = self._by_etag[etag_of(expert.digest)] = _Served(expert, run, endpoints)
        missing = expert.session.gpu_missing
        self._metrics.serves(holds=not expert.golden.against, gpu_missing=missing, **expert.info)

    def again(self, digest: str) -> bool:
        """Whether this artifact is served already; then callers that name none get it, too."""
        served = self._by_etag.get(etag_of(digest))
        if served is not None:
            served.asked_s, self._current = time.monotonic(), served
        return served is not None

    @property
    def run(self) -> Run:
        """Prepared items -> logits of the expert that is served."""
        return self._current.run

    def of_digest(self, digest: str) -> tuple[Run, Check] | None:
        """How the artifact of this digest runs items and which it takes; None if it is not served."""
        served = self._by_etag.get(etag_of(digest))
        if served is None:
            return None
        served.asked_s = time.monotonic()
        return served.run, served.expert.check

    @property
    def digest(self) -> str:
        """The artifact that is served to callers that name none."""
        return self._current.expert.digest

    async def _infer(self, request: Request) -> Response:
        return await self._asked(request).endpoints["/infer"](request)

    async def _model(self, request: Request) -> Response:
        if self._let_go(time.monotonic()):
            await asyncio.to_thread(give_back)  # the thread that opens models may be busy for long
        return await self._asked(request).endpoints["/model"](request)

    def _asked(self, request: Request) -> _Served:
        served = self._by_etag.get(request.headers.get("if-match", ""), self._current)
        served.asked_s = time.monotonic()
        return served

    def _let_go(self, now_s: float) -> bool:
        """Let go what nobody has asked for lately; whether there was anything."""
        there = len(self._by_etag)
        for etag, served in list(self._by_etag.items()):
            if served is not self._current and now_s - served.asked_s > UNUSED_S:
                del self._by_etag[etag]
                self._metrics.gone(**served.expert.info)
        return len(self._by_etag) < there
