"""The BentoML services, wiring only: two experts, and the Cascade, which is the API in front of them.

BentoML's arguments choose the cascades: `bentoml serve --arg text=sms-risk --arg image=`. An empty name leaves that
kind of input out. `bentoml build` keeps the arguments in the Bento.
"""

import asyncio
import logging
import os
import typing as t
from functools import partial
from pathlib import Path

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer  # only it knows the default address

import dockerfile
from serving.arguments import Arguments, with_variables
from serving.cascade.absent import absent
from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import Modality, StoredCascade, StoredModel, StoredPoint, require_kind, require_pair
from serving.cascade.promise import require_golden, require_promise, watch_promises
from serving.cascade.warming import warm_up_experts
from serving.ending import in_one_sentence
from serving.errors import SieveError
from serving.expert.client import RemoteExpert
from serving.garbage import freeze_garbage
from serving.http import api, expert_app
from serving.http.classifying import Classifying
from serving.http.door import Door
from serving.http.draining import Draining
from serving.http.guard import Guard
from serving.http.mount import mounted_app
from serving.http.no_pickle import NoPickle
from serving.http.page import page_routes
from serving.http.port import end_unless_free
from serving.http.priority import VARIABLE as PRIORITY_VARIABLE
from serving.http.priority import PriorityRule
from serving.http.protocol import SieveProtocol, install_protocol
from serving.http.readiness import Readiness
from serving.load.admission import Admission
from serving.load.budget import MAX_MS
from serving.load.memory import MemoryLimit
from serving.memory import upload_bytes
from serving.model.apart import apart
from serving.model.artifact import Artifact
from serving.model.formats import ImageFormats
from serving.model.golden import check_golden
from serving.model.preprocess import check_items, example_items, preprocessor
from serving.model.runner import Runner
from serving.model.session import Session, model_labels
from serving.oip.protocol import HOST_VARIABLE, METHODS, Oip
from serving.settings import MAX_BATCH_SIZE, for_machines, settings_of
from serving.watch.folder import own_folder
from serving.watch.log import LogWriter
from serving.watch.metrics import ExpertMetrics, Metrics
from serving.watch.observer import Observer
from serving.watch.tracing import Tracer, open_tracer, tracing_settings

# BentoML makes three spans for each request even when nobody collects them. Ours do not use its tracer, so it is off.
# This sets a variable for the workers too, so the user's own choice is saved in another one first.
TRACING_OFF = os.environ.setdefault("SIEVE_TRACING_OFF", os.environ.get("OTEL_SDK_DISABLED", "false").lower()) == "true"
os.environ["OTEL_SDK_DISABLED"] = "true"
METRICS_FOLDER = own_folder(os.environ, os.getppid())
try:
    ARGUMENTS = with_variables(bentoml.use_arguments(Arguments), os.environ)
    SETTINGS = for_machines(settings_of(ARGUMENTS.settings, Path(__file__).parent), os.environ)
    FORMATS = ImageFormats(SETTINGS.image_formats)
    TRACING = None if TRACING_OFF else tracing_settings(os.environ)
    PRIORITY = PriorityRule(os.environ.get(PRIORITY_VARIABLE, ""))
except SieveError as error:
    raise SystemExit(str(error)) from None
CLIENT_HEADER = os.environ.get("SIEVE_CLIENT_HEADER", "")
DRAINING = Draining(os.environ.get("SIEVE_DRAIN_FILE"))
install_protocol()

# A label of BentoML's own metrics is the requested address, which a client can make up. Ours count the same and more.
QUIET: dict[str, t.Any] = {"logging": {"access": {"enabled": False}}, "metrics": {"enabled": False}}
API_CONFIG = {
    **QUIET,
    # BentoML 1.4.40 keeps a timer and the context of each request alive for so many seconds, even after its answer
    # (TimeoutMiddleware). Only requests that are not on the fast path go through it.
    "traffic": {"timeout": 10},
    "workers": SETTINGS.workers,
}
if SETTINGS.cors_origins:  # else BentoML's own configuration of CORS holds
    API_CONFIG["http"] = {"cors": {"enabled": True, "access_control_allow_origins": list(SETTINGS.cors_origins)}}
EXPERT_CONFIG = {
    **QUIET,
    "traffic": {"timeout": 2},
    "workers": 1,
    # By default BentoML's client of a service closes its session after 100 requests, with others in flight (1.4.40).
    "runner_connection": {"max_requests": 10**12, "max_age": 1e9},
}


class StoredArtifact(bentoml.models.BentoModel):  # type: ignore[misc]  # BentoML has no types for it
    """A model of the store. If it is missing, the error names the command that makes it."""

    def resolve(self, *args: t.Any, **kwargs: t.Any) -> bentoml.Model:
        self._require()
        resolved: bentoml.Model = super().resolve(*args, **kwargs)
        return resolved

    def to_info(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        self._require()
        return super().to_info(*args, **kwargs)

    def _require(self) -> None:
        if self.stored is None:
            stored = (model.tag.name for model in bentoml.models.list())
            raise bentoml.exceptions.NotFound(absent(str(self.tag), stored))


def latest(name: str, role: str) -> StoredArtifact:
    """The latest artifact of the cascade `name`; `bentoml build` pins it. `role`: screen, expert or operating-point."""
    return StoredArtifact(f"{name}-{role}:latest")


class ExpertService:
    """One expert, also on a machine of its own. POST /infer is for the API, the batchable API for other callers."""

    model: bentoml.Model

    def __init__(self) -> None:
        self.readiness = Readiness(DRAINING)  # what follows has ended before the server takes requests
        artifact = open_artifact(self.model)
        session, settings = Session(artifact, threads=SETTINGS.expert_threads), artifact.manifest.settings
        runner = Runner(session, preprocessor(artifact))
        runner.warm_up(settings)
        with in_one_sentence(self.model.tag):
            golden = check_golden(artifact, runner)
        info = {"model": str(self.model.tag), **model_labels(artifact, session)}
        metrics = ExpertMetrics(settings.kind, METRICS_FOLDER, not golden.against, **info)
        self.lag = metrics.lag
        self.run = expert_app.one_at_a_time(apart(runner.run, example_items(settings)[0]), metrics.ran)
        tracer, check = open_tracer("sieve-expert", TRACING), partial(check_items, settings)
        self.endpoints = expert_app.expert_endpoints(artifact.digest, session, golden, self.run, metrics, tracer, check)
        logging.getLogger("bentoml._internal.server.http_app").addFilter(_not_shed)
        freeze_garbage()

    # max_latency_ms is no batch window: BentoML's batcher refuses items that would take longer. No budget is longer.
    @bentoml.api(  # type: ignore[untyped-decorator]  # BentoML has no types for it
        batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=int(MAX_MS)
    )
    def classify(self, items: list[t.Any]) -> list[t.Any]:
        """Prepared items -> logits float32 [labels] of each."""
        return list(self.run(items))


def check_expert(kind: str) -> None:
    """End the process with one sentence, before any worker starts, if the expert for `kind` cannot be served alone."""
    ARGUMENTS.require(kind)
    end_unless_free(BentoMLContainer.http)
    if ARGUMENTS.strict:
        model = latest(ARGUMENTS.served[kind], "expert").resolve()
        with in_one_sentence(model.tag):
            require_golden(open_artifact(model))


EXPERT_APP = mounted_app(expert_app.METHODS, bentoml.get_current_service, DRAINING)


@bentoml.service(**EXPERT_CONFIG)
@bentoml.asgi_app(EXPERT_APP, path="/")
class TextExpert(ExpertService):
    """The expert for texts."""

    check = bentoml.on_deployment(partial(check_expert, "text"))
    if ARGUMENTS.text:
        model = latest(ARGUMENTS.text, "expert")


@bentoml.service(**EXPERT_CONFIG)
@bentoml.asgi_app(EXPERT_APP, path="/")
class ImageExpert(ExpertService):
    """The expert for images."""

    check = bentoml.on_deployment(partial(check_expert, "image"))
    if ARGUMENTS.image:
        model = latest(ARGUMENTS.image, "expert")


for _service in (TextExpert, ImageExpert):
    _service.add_asgi_middleware(NoPickle)  # type: ignore[union-attr]  # the decorator returns a bentoml.Service


def _not_shed(record: logging.LogRecord) -> bool:
    """Drop the stack trace that BentoML logs for each item its batcher refuses; the caller counts these."""
    return record.exc_info is None or not isinstance(record.exc_info[1], bentoml.exceptions.ServiceUnavailable)


# BentoML brings Swagger UI's files for a page of its own.
SWAGGER_UI = Path(bentoml.__file__).parent / "_internal" / "server" / "static_content"
PAGES = page_routes(SWAGGER_UI) if SETTINGS.page else []
API_APP = mounted_app({**api.METHODS, **METHODS}, bentoml.get_current_service, DRAINING, PAGES)
# An empty distro adds no compilers. BentoML keeps the order of `run` and `python_packages`.
IMAGE = (
    bentoml.images.Image(dockerfile.BASE, distro="", python_version=dockerfile.PYTHON, lock_python_packages=False)
    .build_include("constraints.txt")
    .run(dockerfile.BUILD)
    .python_packages(*dockerfile.PACKAGES)
    .run(dockerfile.FINISH)
)


@bentoml.service(name="sieve", image=IMAGE, **API_CONFIG)
@bentoml.asgi_app(API_APP, path="/")
class Cascade:
    """Sieve: a screen answers what it is sure of, an expert is asked for the rest, inside a latency budget."""

    if ARGUMENTS.text:
        text_screen = latest(ARGUMENTS.text, "screen")
        text_expert_model = latest(ARGUMENTS.text, "expert")
        text_point = latest(ARGUMENTS.text, "operating-point")
        if not ARGUMENTS.text_expert_url:
            text_expert = bentoml.depends(TextExpert)
    if ARGUMENTS.image:
        image_screen = latest(ARGUMENTS.image, "screen")
        image_expert_model = latest(ARGUMENTS.image, "expert")
        image_point = latest(ARGUMENTS.image, "operating-point")
        if not ARGUMENTS.image_expert_url:
            image_expert = bentoml.depends(ImageExpert)

    def __init__(self) -> None:
        self.readiness = Readiness(DRAINING)
        tracer = open_tracer("sieve", TRACING)
        metrics = Metrics(METRICS_FOLDER)
        self.lag, self._tell_promise = metrics.lag, metrics.promise_applies
        self.modalities = {kind: self._modality(kind, metrics, tracer) for kind in ARGUMENTS.served}
        for opened in self.modalities.values():
            metrics.watch_modality(opened)
        admission = Admission(SETTINGS.max_in_flight)
        metrics.watch_admission(admission)
        observer = Observer(metrics, tracer, LogWriter() if ARGUMENTS.log_requests else None)
        self._memory = MemoryLimit(upload_bytes(SETTINGS.workers))
        metrics.watch_memory(self._memory)
        guard = Guard(observer, admission, PRIORITY)
        classifying = Classifying(guard.turns, self._memory, CLIENT_HEADER, FORMATS)
        self._oip = Oip(self.modalities, ARGUMENTS.served, guard, classifying, self.readiness, ARGUMENTS.grpc_port)
        ours = api.api_endpoints(self.modalities, guard, metrics, classifying, self._oip.document)
        self.endpoints = {**ours, **self._oip.endpoints}
        SieveProtocol.door = Door(api.METHODS, observer, admission, DRAINING, guard.turns.connection_made)
        freeze_garbage()

    def _modality(self, kind: str, metrics: Metrics, tracer: Tracer | None) -> Modality:
        screen, expert, point = (getattr(self, f"{kind}_{role}") for role in ("screen", "expert_model", "point"))
        stored = StoredCascade(
            screen=StoredModel(open_artifact(screen), str(screen.tag)),
            expert=StoredModel(open_artifact(expert), str(expert.tag)),
            point=StoredPoint(OperatingPoint.read(Path(point.path)), str(point.tag)),
        )
        url = ARGUMENTS.expert_url(kind) or str(getattr(self, f"{kind}_expert").to_async.url)
        client = RemoteExpert(url, stored.expert.tag, stored.expert.artifact.digest, ARGUMENTS.expert_ca)
        tell_drift, tell_call = metrics.drift_reporter(kind), tracer.call_ended if tracer else None
        with in_one_sentence(screen.tag):
            return Modality(stored, client, SETTINGS, tell_drift=tell_drift, tell_call=tell_call)

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # BentoML has no types for it
    async def start_warm_up(self) -> None:
        """Start to warm up the experts. Each process of the API does this, also those that no probe reaches."""
        self.readiness.begin(self._warm_up())
        await self._oip.start(os.environ.get(HOST_VARIABLE))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # BentoML has no types for it
    async def stop_oip(self) -> None:
        """End the gRPC server when its calls have ended."""
        await self._oip.stop()

    async def _warm_up(self) -> None:
        """Call each expert with every batch size and length, which also measures how long they take."""
        await warm_up_experts({kind: opened.warm_up_expert for kind, opened in self.modalities.items()})
        self._watch = asyncio.create_task(watch_promises(self.modalities.values(), self._tell_promise))
        freeze_garbage()
        # The processes beside this one have their memory by now.
        self._memory.capacity = upload_bytes(SETTINGS.workers)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # BentoML has no types for it
    @staticmethod
    def check() -> None:
        """End `bentoml serve` with one sentence, before any worker starts, if the arguments cannot be served."""
        os.environ[HOST_VARIABLE] = end_unless_free(BentoMLContainer.http, grpc_port=ARGUMENTS.grpc_port)
        if not ARGUMENTS.served:
            raise SystemExit("nothing to serve: give a name with --arg text=NAME, --arg image=NAME, or both")
        for kind, name in ARGUMENTS.served.items():
            screen, expert = (open_artifact(latest(name, role).resolve()) for role in ("screen", "expert"))
            with in_one_sentence(name):
                require_kind(screen, kind)
                point = OperatingPoint.read(Path(latest(name, "operating-point").resolve().path))
                require_pair(screen, expert, point)
                if ARGUMENTS.strict:
                    url = ARGUMENTS.expert_url(kind)
                    remote = RemoteExpert(url, name, expert.digest, ARGUMENTS.expert_ca) if url else None
                    require_promise(screen, expert, point, remote)


def open_artifact(model: bentoml.Model) -> Artifact:
    """The artifact in a model of the store. An error in it ends the service with its message."""
    with in_one_sentence(model.tag):
        return Artifact.open(Path(model.path))
