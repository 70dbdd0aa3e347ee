"""The BentoML services, wiring only: two experts, and the Cascade, the API in front of them.

Which cascades are served is an argument of BentoML: `bentoml serve --arg text=sms-risk --arg image=`. `bentoml build`
keeps the arguments in the Bento. An empty name leaves a modality out.
"""

import asyncio
import logging
import os
import re
import time
import typing as t
from pathlib import Path

import aiohttp
import bentoml
from pydantic import BaseModel

from serving.api import Api
from serving.artifact import Artifact
from serving.budget import MAX_MS
from serving.deferral import OperatingPoint
from serving.drift import Drift
from serving.errors import SieveError
from serving.expert_app import expert_app, infer_endpoint
from serving.fast_path import shorten
from serving.memory import settle
from serving.metrics import ExpertMetrics, Metrics
from serving.modality import Modality, model_labels, open_modality, preprocessor, require_pair, warm_up
from serving.observer import Observer, stdout
from serving.remote import RemoteExpert
from serving.session import Session
from serving.settings import MAX_BATCH_SIZE, settings_of
from serving.tracing import open_tracer, tracing_settings


class Cascades(BaseModel, extra="forbid"):
    """Names of the cascades; NAME-screen, NAME-expert and NAME-operating-point are looked up in the model store.

    `settings`: a TOML file of `serving.settings`, relative to this file; settings.toml is read where it is there.
    `log_requests`: one line of JSON for each request.
    """

    text: str = "demo-text"
    image: str = "demo-image"
    settings: str = ""
    log_requests: bool = False


NAMES = bentoml.use_arguments(Cascades)

# BentoML makes three spans a request even where nobody collects them; serving.tracing makes ours without its tracer.
# The first process knows whether the user has switched all off, and the workers inherit what it says.
OFF = os.environ.setdefault("SIEVE_TRACING_OFF", os.environ.get("OTEL_SDK_DISABLED", "false").lower()) == "true"
os.environ["OTEL_SDK_DISABLED"] = "true"
METRICS = Path(shared) if (shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR")) else None
try:
    SETTINGS = settings_of(NAMES.settings, Path(__file__).parent)
    TRACING = None if OFF else tracing_settings(os.environ)
except SieveError as error:
    raise SystemExit(str(error)) from None

# BentoML keeps a timer and the request's context alive for this long. Slow uploads need more than any budget.
API_TRAFFIC = {"timeout": 10}
TRAFFIC = {"timeout": 2}
RETRY_S = 0.2
QUIET = {"access": {"enabled": False}}
# Its metrics have the address that was asked for as a label, which whoever asks makes up; ours have all it counts.
UNCOUNTED = {"enabled": False}
EXPERT = {
    "traffic": TRAFFIC,
    "logging": QUIET,
    "metrics": UNCOUNTED,
    "workers": 1,
    # The client of a service closes its session after 100 requests, with others in flight; these end that.
    "runner_connection": {"max_requests": 10**12, "max_age": 1e9},
}


class StoredArtifact(bentoml.models.BentoModel):
    """A model of the store, whose absence is explained with the command that makes it."""

    def resolve(self, *args: t.Any, **kwargs: t.Any) -> bentoml.Model:
        self._require()
        return super().resolve(*args, **kwargs)

    def to_info(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        self._require()
        return super().to_info(*args, **kwargs)

    def _require(self) -> None:
        if self.stored is None:
            name = re.sub("-(screen|expert|operating-point)$", "", self.tag.name)
            screens = {model.tag.name for model in bentoml.models.list() if model.tag.name.endswith("-screen")}
            there = ", ".join(sorted(screen.removesuffix("-screen") for screen in screens))
            raise bentoml.exceptions.NotFound(
                f"model {self.tag} is not in the BentoML model store; make it with `python -m optimize run {name}`, "
                "with `run PATH.toml` for a recipe of your own, or `make demo` for the two demo cascades. Cascades "
                f"that are there: {there or 'none'}"
            )


def stored(name: str, role: str) -> StoredArtifact:
    """The latest artifact of a cascade, pinned when a Bento is built; `role`: screen, expert or operating-point."""
    return StoredArtifact(f"{name}-{role}:latest")


class Expert:
    """One expert: the model behind POST /infer, which takes whole batches of raw arrays from the API's process, and
    behind a batchable API for other callers.
    """

    model: t.Any

    def __init__(self) -> None:
        artifact = opened(self.model)
        self.preprocess = preprocessor(artifact)
        self.session = Session(artifact, threads=SETTINGS.expert_threads)
        warm_up(self.session, artifact, self.preprocess)
        info = model_labels(artifact, self.session)
        self.metrics = ExpertMetrics(artifact.manifest.settings.kind, METRICS, model=str(self.model.tag), **info)
        self.tracer = open_tracer("sieve-expert", TRACING)
        self._shortened = False
        logging.getLogger("bentoml._internal.server.http_app").addFilter(_not_shed)
        settle()

    def run(self, items: t.Sequence[t.Any]) -> t.Any:
        """Prepared items -> logits float32 [items, labels]."""
        begin = time.monotonic()
        logits = self.session.run(self.preprocess.collate(items))
        self.metrics.ran(len(items), time.monotonic() - begin)
        return logits

    # max_latency_ms is not a batch window: beyond it the batcher sheds, and the caller degrades. No budget is longer.
    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=int(MAX_MS))
    def classify(self, items: list[t.Any]) -> list[t.Any]:
        """Prepared items -> logits float32 [labels] of each."""
        return list(self.run(items))

    async def __is_ready__(self) -> bool:
        """Ready once it is there; the first to ask finds the short way to /infer open."""
        if not self._shortened:
            shorten(self, {"/infer": infer})
            self._shortened = True
        return True

    @bentoml.api
    def providers(self) -> dict[str, str]:
        """The execution provider asked for and got, and the variant that runs."""
        session = self.session
        return {"asked": session.provider_asked, "got": session.provider_got, "variant": session.variant}


current: t.Callable[[], t.Any] = bentoml.get_current_service
infer = infer_endpoint(lambda items: current().run(items), lambda: current().tracer)
INFER = expert_app(infer, lambda: current().metrics)


@bentoml.service(**EXPERT)
@bentoml.asgi_app(INFER, path="/")
class TextExpert(Expert):
    """The expert for texts."""

    if NAMES.text:
        model = stored(NAMES.text, "expert")


@bentoml.service(**EXPERT)
@bentoml.asgi_app(INFER, path="/")
class ImageExpert(Expert):
    """The expert for images."""

    if NAMES.image:
        model = stored(NAMES.image, "expert")


def _not_shed(record: logging.LogRecord) -> bool:
    """Leave out the stack trace that BentoML logs for each item that its batcher sheds; the caller counts them."""
    return record.exc_info is None or not isinstance(record.exc_info[1], bentoml.exceptions.ServiceUnavailable)


API = Api(bentoml.get_current_service, SETTINGS.max_in_flight)


@bentoml.service(name="sieve", traffic=API_TRAFFIC, logging=QUIET, metrics=UNCOUNTED, workers=SETTINGS.workers)
@bentoml.asgi_app(API.app(), path="/")
class Cascade:
    """Sieve: a screen answers what it is sure of, an expert is asked for the rest, inside a latency budget."""

    if NAMES.text:
        text_screen = stored(NAMES.text, "screen")
        text_expert_model = stored(NAMES.text, "expert")
        text_point = stored(NAMES.text, "operating-point")
        text_expert = bentoml.depends(TextExpert)
    if NAMES.image:
        image_screen = stored(NAMES.image, "screen")
        image_expert_model = stored(NAMES.image, "expert")
        image_point = stored(NAMES.image, "operating-point")
        image_expert = bentoml.depends(ImageExpert)

    def __init__(self) -> None:
        self.modalities: dict[str, Modality] = {}
        self._warm = False
        metrics = Metrics(METRICS)
        metrics.watch(API.admission)
        self.observer = Observer(metrics, open_tracer("sieve", TRACING), stdout() if NAMES.log_requests else None)
        if NAMES.text:
            models = (self.text_screen, self.text_expert_model, self.text_point)
            self.modalities["text"] = modality(*models, self.text_expert, metrics.drift_of("text"))
        if NAMES.image:
            models = (self.image_screen, self.image_expert_model, self.image_point)
            self.modalities["image"] = modality(*models, self.image_expert, metrics.drift_of("image"))
        for served in self.modalities.values():
            metrics.watch_modality(served)
        settle()

    @bentoml.on_startup
    async def begin(self) -> None:
        """In every process of the API, whichever of them is asked whether it is ready."""
        self._getting_ready = asyncio.create_task(self._get_ready())

    async def _get_ready(self) -> None:
        """Until every expert has answered every shape of call, which teaches how long each takes."""
        while not all(await asyncio.gather(*(m.warm_up_expert() for m in self.modalities.values()))):
            await asyncio.sleep(RETRY_S)
        shorten(self, API.posts)
        settle()
        self._warm = True

    async def __is_ready__(self) -> bool:
        return self._warm

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Before any worker starts: what cannot be served ends `bentoml serve` with one sentence."""
        names = {kind: name for kind, name in (("text", NAMES.text), ("image", NAMES.image)) if name}
        if not names:
            raise SystemExit("nothing to serve: give a name with --arg text=NAME, --arg image=NAME, or both")
        for kind, name in names.items():
            screen, expert = (opened(stored(name, role).resolve()) for role in ("screen", "expert"))
            got = screen.manifest.settings.kind
            if got != kind:
                raise SystemExit(
                    f"{name}: --arg {kind}= takes a cascade for {kind}s, got one for {got}s; mend the --arg"
                )
            try:
                require_pair(screen, expert, point_of(stored(name, "operating-point").resolve()))
            except SieveError as error:
                raise SystemExit(f"{name}: {error}") from None


def providers_of(remote: t.Any) -> t.Callable[[], t.Awaitable[dict[str, str]]]:
    """A function that asks an expert for the execution provider asked for and got, or says why it cannot be told."""

    async def ask() -> dict[str, str]:
        try:
            async with asyncio.timeout(0.5):
                return dict(await remote.to_async.providers())
        except (bentoml.exceptions.BentoMLException, aiohttp.ClientError, OSError, TimeoutError) as error:
            return {"error": f"the expert does not answer ({type(error).__name__})"}

    return ask


def modality(
    screen: bentoml.Model,
    expert: bentoml.Model,
    point: bentoml.Model,
    remote: t.Any,
    tell_drift: t.Callable[[Drift], None],
) -> Modality:
    """Open a screen and its operating point and tie them to the expert's service."""
    return open_modality(
        screen=opened(screen),
        screen_tag=str(screen.tag),
        expert=opened(expert),
        expert_tag=str(expert.tag),
        point=point_of(point),
        point_tag=str(point.tag),
        call=RemoteExpert(remote.to_async.url, str(expert.tag)),
        ask_providers=providers_of(remote),
        tell_drift=tell_drift,
        settings=SETTINGS,
    )


def point_of(model: bentoml.Model) -> OperatingPoint:
    """An operating point of the store."""
    return OperatingPoint.read(Path(model.path))


def opened(model: bentoml.Model) -> Artifact:
    """An artifact of the store; what is wrong with it ends the service with its sentence."""
    try:
        return Artifact.open(Path(model.path))
    except SieveError as error:
        raise SystemExit(f"{model.tag}: {error}") from None
