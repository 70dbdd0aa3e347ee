"""The BentoML services, wiring only: two experts, and the Cascade, which is the API in front of them.

BentoML's arguments choose the cascades: `bentoml serve --arg text=sms-risk,my-cascade --arg image=`. An empty name
leaves that kind of input out. `bentoml build` keeps the arguments in the Bento.
"""

import asyncio
import logging
import os
import typing as t
from functools import partial
from operator import attrgetter
from pathlib import Path

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer  # only it knows the default address

import dockerfile
from serving.arguments import KINDS, Arguments, Chosen, with_variables
from serving.cascade.absent import absent
from serving.cascade.equal import equal_requests
from serving.cascade.opening import Entry, open_cascade
from serving.cascade.promise import require_golden, watch_promises
from serving.cascade.servable import require_servable
from serving.cascade.versions import Versions
from serving.cascade.warming import warm_up_experts
from serving.control import close_control
from serving.ending import SERVER_VARIABLE, end_after, in_one_sentence
from serving.errors import SieveError
from serving.garbage import freeze_garbage
from serving.http import api, expert_app
from serving.http.access import Access
from serving.http.cascades import Cascades, Origin
from serving.http.door import Door
from serving.http.draining import Draining
from serving.http.expert_host import Around, ExpertHost
from serving.http.expert_process import SHADOW_NICE, Given, start_of
from serving.http.guard import Guard
from serving.http.keep_alive import keep_alive_s
from serving.http.mount import mounted_app
from serving.http.no_pickle import NoPickle
from serving.http.openapi import Document, together
from serving.http.page import page_routes
from serving.http.port import end_unless_free
from serving.http.protocol import SieveProtocol, install_protocol
from serving.http.readiness import Readiness
from serving.http.shadows import Shadows
from serving.load.admission import Admission
from serving.load.budget import MAX_MS
from serving.load.memory import MemoryLimit
from serving.memory import upload_bytes
from serving.model.artifact import Artifact
from serving.model.device import Wanted
from serving.model.formats import ImageFormats
from serving.model.session import require_device
from serving.oip.protocol import HOST_VARIABLE, METHODS, Oip
from serving.service_config import EXPERT_CONFIG, api_config
from serving.settings import MAX_BATCH_SIZE, for_machines, settings_of
from serving.shadow.comparable import Comparable
from serving.start import Start
from serving.watch.answered import answered_memory
from serving.watch.folder import own_folder
from serving.watch.log import LogWriter
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from serving.watch.payloads import kept_payloads
from serving.watch.tracing import open_tracer, tracing_settings

logging.getLogger("sieve").disabled = False  # BentoML's workers silence what was there before: in a fork, ours
# BentoML makes three spans for each request even when nobody collects them. Ours do not use its tracer, so it is off.
# This sets a variable for the workers too, so the user's own choice is saved in another one first.
TRACING_OFF = os.environ.setdefault("SIEVE_TRACING_OFF", os.environ.get("OTEL_SDK_DISABLED", "false").lower()) == "true"
os.environ["OTEL_SDK_DISABLED"] = "true"
METRICS_FOLDER = own_folder(os.environ, os.getppid())
try:
    ARGUMENTS = with_variables(bentoml.use_arguments(Arguments), os.environ)
    SETTINGS = for_machines(settings_of(ARGUMENTS.settings, Path(__file__).parent), os.environ)
    FORMATS, WANTED = ImageFormats(SETTINGS.image_formats), Wanted.of(SETTINGS)
    TRACING = None if TRACING_OFF else tracing_settings(os.environ)
    ACCESS = Access(os.environ, SETTINGS)
except SieveError as error:
    raise SystemExit(str(error)) from None
CLIENT_HEADER, DRAINING = os.environ.get("SIEVE_CLIENT_HEADER", ""), Draining(os.environ.get("SIEVE_DRAIN_FILE"))
VERSIONS = Versions(METRICS_FOLDER)
install_protocol(keep_alive_s())
MODELS = BentoMLContainer.model_store.get()._path  # in a Bento its own, while this file is imported


class StoredArtifact(bentoml.models.BentoModel):  # type: ignore[misc]  # BentoML has no types for it
    """A model of the store. If it is missing, the error names the command that makes it."""

    def resolve(self, *args: t.Any, **kwargs: t.Any) -> bentoml.Model:
        self._require()
        return t.cast(bentoml.Model, super().resolve(*args, **kwargs))

    def to_info(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        self._require()
        return super().to_info(*args, **kwargs)

    def _require(self) -> None:
        if self.stored is None:
            stored = (model.tag.name for model in bentoml.models.list())
            raise bentoml.exceptions.NotFound(absent(str(self.tag), stored))


ROLES = ("screen", "expert", "operating-point")


def latest(name: str, role: str) -> StoredArtifact:
    """The latest artifact of the cascade `name`; `bentoml build` pins it. `role` is one of ROLES."""
    return StoredArtifact(f"{name}-{role}:latest")


def stored(pinned: t.Sequence[Entry], name: str) -> list[Entry]:
    """All versions of a model, the newest first: those in the store, then what is `pinned` in a Bento."""
    try:
        there = sorted(bentoml.models.list(name), key=attrgetter("creation_time"), reverse=True)
    except bentoml.exceptions.NotFound:
        there = []
    tags = {str(model.tag) for model in there}
    ours = (model for model in pinned if str(model.tag).partition(":")[0] == name)
    return [*there, *(model for model in ours if str(model.tag) not in tags)]


class ExpertService:
    """One expert, also on a machine of its own. POST /infer is for the API, the batchable API for other callers."""

    model: bentoml.Model
    name: str  # of its cascade
    gate, shadow = ExpertHost.gate, False

    def __init__(self) -> None:
        end_after(os.environ.get(SERVER_VARIABLE))
        os.nice(SHADOW_NICE if self.shadow else 0)
        around = Around(metrics=METRICS_FOLDER, draining=DRAINING, tracing=TRACING, admin=ACCESS.admin)
        store = partial(stored, [self.model])
        host = ExpertHost(self.name, self.model, store, around, settings=SETTINGS, several=ARGUMENTS.several)
        self.readiness, self.lag, self.models, self.endpoints = host.readiness, host.lag, host.models, host.endpoints
        logging.getLogger("bentoml._internal.server.http_app").addFilter(_not_shed)

    # max_latency_ms is no batch window: BentoML's batcher refuses items that would take longer. No budget is longer.
    @bentoml.api(  # type: ignore[untyped-decorator]  # BentoML has no types for it
        batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=int(MAX_MS)
    )
    def classify(self, items: list[t.Any]) -> list[t.Any]:
        """Prepared items -> logits float32 [labels] of each."""
        return list(self.models.run(items))


def check_expert(kind: str, place: int) -> None:
    """End the process with one sentence, before any worker starts, if the expert for `kind` cannot be served alone."""
    model = latest(ARGUMENTS.require(kind, place).name, "expert").resolve()
    end_unless_free(BentoMLContainer.http)
    os.environ[SERVER_VARIABLE] = str(os.getpid())
    with in_one_sentence(model.tag):
        require_device(artifact := Artifact.open(Path(model.path)), WANTED)
        if ARGUMENTS.strict:
            require_golden(artifact, wanted=WANTED)


EXPERT_APP = mounted_app({**expert_app.METHODS, **ACCESS.admin.methods}, bentoml.get_current_service, DRAINING)


def expert_service(kind: str, place: int = 0) -> t.Any:
    """The service of an expert: TextExpert for that of the first cascade for texts, TextExpert2 for the second."""
    body: dict[str, t.Any] = {"__doc__": f"An expert for {kind}s."}
    body["check"] = bentoml.on_deployment(partial(check_expert, kind, place))
    for chosen in (each for each in ARGUMENTS.opened if (each.kind, each.place) == (kind, place)):
        body.update(name=chosen.name, model=latest(chosen.name, "expert"), shadow=chosen in ARGUMENTS.shadows)
    inner = type(f"{kind.title()}Expert{place + 1 if place else ''}", (ExpertService,), body)
    service = bentoml.service(**EXPERT_CONFIG)(bentoml.asgi_app(EXPERT_APP, path="/")(inner))
    service.add_asgi_middleware(NoPickle)
    return service


def expert_start(chosen: Chosen) -> tuple[str, Start]:
    """The service of an expert, and how its process is started beside the API."""
    tag, shadow, several = str(latest(chosen.name, "expert").tag), chosen in ARGUMENTS.shadows, ARGUMENTS.several
    given = Given(name=chosen.name, model=tag, store=str(MODELS), settings=SETTINGS, several=several, shadow=shadow)
    return (name := EXPERTS[chosen.kind, chosen.place].name), start_of(name, given, Path(__file__).parent)


TextExpert, ImageExpert = map(expert_service, KINDS)
EXPERTS = {("text", 0): TextExpert, ("image", 0): ImageExpert}
for _chosen in ARGUMENTS.opened:
    if _chosen.place:  # found by its name, as in `bentoml serve service:TextExpert2`
        _service = EXPERTS[_chosen.kind, _chosen.place] = expert_service(_chosen.kind, _chosen.place)
        globals()[_service.name] = _service

close_control(dict(map(expert_start, ARGUMENTS.opened)), os.environ)


def _not_shed(record: logging.LogRecord) -> bool:
    """Drop the stack trace that BentoML logs for each item its batcher refuses; the caller counts these."""
    return record.exc_info is None or not isinstance(record.exc_info[1], bentoml.exceptions.ServiceUnavailable)


# BentoML brings Swagger UI's files for a page of its own.
PAGES = page_routes(Path(bentoml.__file__).parent / "_internal/server/static_content") if SETTINGS.page else []
API_APP = mounted_app({**api.METHODS, **METHODS, **ACCESS.admin.methods}, bentoml.get_current_service, DRAINING, PAGES)
# An empty distro adds no compilers. BentoML keeps the order of `run` and `python_packages`.
IMAGE = (
    bentoml.images.Image(dockerfile.BASE, distro="", python_version=dockerfile.PYTHON, lock_python_packages=False)
    .build_include("constraints.txt")
    .run(dockerfile.BUILD)
    .python_packages(*dockerfile.PACKAGES)
    .run(dockerfile.FINISH)
)


def with_cascades(service: type) -> type:
    """Give the API's class the models of its cascades, and the experts that are started here."""
    for chosen in ARGUMENTS.opened:
        for role in ROLES:
            setattr(service, chosen.attribute(role), latest(chosen.name, role))
        if ARGUMENTS.starts_expert(chosen, SETTINGS.audit_url):
            setattr(service, chosen.attribute("service"), bentoml.depends(EXPERTS[chosen.kind, chosen.place]))
    return service


@bentoml.service(name="sieve", image=IMAGE, **api_config(SETTINGS))
@bentoml.asgi_app(API_APP, path="/")
@with_cascades
class Cascade:
    """Sieve: a screen answers what it is sure of, an expert is asked for the rest, inside a latency budget."""

    def __init__(self) -> None:
        end_after(os.environ.get(SERVER_VARIABLE))
        self.readiness = Readiness(DRAINING)
        tracer = open_tracer("sieve", TRACING)
        self._metrics = metrics = Metrics(METRICS_FOLDER, several=ARGUMENTS.several)
        self.lag, origins = metrics.lag, [self._origin(chosen) for chosen in ARGUMENTS.served]
        store = partial(stored, [model for origin in origins for model in origin.models])
        self._cascades = Cascades(
            origins, store, SETTINGS, metrics, tracer, tls=ARGUMENTS.expert_tls, versions=VERSIONS, key=ACCESS.admin
        )
        admission = Admission(SETTINGS.max_in_flight)
        metrics.watch_admission(admission)
        self.gate = gate = ACCESS.gate(metrics.came)
        memory = answered_memory(SETTINGS.feedback_memory, METRICS_FOLDER)
        observer = Observer(metrics, tracer, LogWriter() if ARGUMENTS.log_requests else None, memory)
        self._memory = MemoryLimit(upload_bytes(SETTINGS.workers, SETTINGS.cache_mb))
        metrics.watch_memory(self._memory)
        guard = Guard(observer, admission, ACCESS.priority)
        equal = equal_requests(SETTINGS.cache_mb, metrics.watch_kept)
        served, shadows = self._cascades.served, [self._origin(chosen) for chosen in ARGUMENTS.shadows]
        self._payloads = payloads = kept_payloads(SETTINGS)
        self._shadows = Shadows(shadows, self._cascades, SETTINGS, admission, METRICS_FOLDER, ARGUMENTS.expert_tls)
        classifying = self._shadows.classifying(guard.turns, self._memory, CLIENT_HEADER, FORMATS, equal, payloads)
        self._oip = Oip(served, guard, classifying, self.readiness, ARGUMENTS.grpc_port, gate)
        ours = api.api_endpoints(served, guard, metrics, classifying, self._beside, gate, memory)
        self.endpoints = {**ours, **self._oip.endpoints, **self._cascades.endpoints}
        SieveProtocol.door = Door(api.METHODS, observer, admission, DRAINING, guard.turns.connection_made)
        freeze_garbage()

    def _beside(self) -> Document:
        return together(self._oip.document(), self._cascades.document())

    def _origin(self, chosen: Chosen) -> Origin:
        starts, service = ARGUMENTS.starts_expert(chosen, SETTINGS.audit_url), chosen.attribute("service")
        url = str(getattr(self, service).to_async.url) if starts else ARGUMENTS.expert_url(chosen)
        return Origin(chosen=chosen, models=[getattr(self, chosen.attribute(role)) for role in ROLES], expert_url=url)

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # BentoML has no types for it
    async def start_warm_up(self) -> None:
        """Start to warm up the experts. Each process of the API does this, also those that no probe reaches."""
        self.readiness.begin(self._warm_up())
        self._cascades.follow()
        self._shadows.start()
        await self._oip.start(os.environ.get(HOST_VARIABLE))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # BentoML has no types for it
    async def stop(self) -> None:
        """End the gRPC server when its calls have ended, and write the payloads that wait."""
        await self._oip.stop()
        if self._payloads is not None:
            self._payloads.close()

    async def _warm_up(self) -> None:
        """Call each expert with every batch size and length, which also measures how long they take."""
        await warm_up_experts({opened.name: opened.warm_up_expert for opened in self._cascades.served})
        self._watch = asyncio.create_task(watch_promises(self._cascades.served, self._metrics.promise_applies))
        freeze_garbage()
        # The processes beside this one have their memory by now.
        self._memory.capacity = upload_bytes(SETTINGS.workers, SETTINGS.cache_mb)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # BentoML has no types for it
    @staticmethod
    def check() -> None:
        """End `bentoml serve` with one sentence, before any worker starts, if the arguments cannot be served."""
        os.environ[HOST_VARIABLE] = host = end_unless_free(BentoMLContainer.http, grpc_port=ARGUMENTS.grpc_port)
        ACCESS.warn_if_open(host)
        os.environ[SERVER_VARIABLE] = str(os.getpid())
        ARGUMENTS.require_any()
        comparable = Comparable()
        for chosen in ARGUMENTS.opened:
            with in_one_sentence(chosen.name):
                found = open_cascade(*(latest(chosen.name, role).resolve() for role in ROLES))
                require_servable(found, chosen, ARGUMENTS, WANTED, SETTINGS.audit_url)
                comparable.require(found, chosen.kind, shadow=chosen in ARGUMENTS.shadows)
