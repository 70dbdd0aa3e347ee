"""The BentoML services, wiring only: two experts, and the Cascade, the API in front of them.

Which cascades are served is an argument of BentoML: `bentoml serve --arg text=sms-risk --arg image=`. `bentoml build`
keeps the arguments in the Bento. An empty name leaves a modality out.
"""

import asyncio
import logging
import math
import os
import re
import time
import typing as t
from pathlib import Path

import bentoml

from serving.arguments import Cascades, with_variables
from serving.cascade.deferral import OperatingPoint
from serving.cascade.drift import Drift
from serving.cascade.modality import Modality, model_labels, open_modality, require_pair
from serving.errors import SieveError
from serving.expert.client import RemoteExpert
from serving.garbage import settle
from serving.http.api import Api
from serving.http.draining import Draining
from serving.http.expert_app import expert_app, infer_endpoint, only_for
from serving.http.fast_path import shorten
from serving.http.no_pickle import NoPickle
from serving.load.budget import MAX_MS
from serving.model.artifact import Artifact
from serving.model.preprocess import preprocessor, warm_up
from serving.model.session import Session
from serving.settings import MAX_BATCH_SIZE, settings_of
from serving.trace import CallSpan
from serving.watch.metrics import ExpertMetrics, Metrics
from serving.watch.observer import Observer, stdout
from serving.watch.tracing import open_tracer, tracing_settings

# BentoML makes three spans a request even where nobody collects them; ours are made without its tracer.
# The first process knows whether the user has switched all off, and the workers inherit what it says.
OFF = os.environ.setdefault("SIEVE_TRACING_OFF", os.environ.get("OTEL_SDK_DISABLED", "false").lower()) == "true"
os.environ["OTEL_SDK_DISABLED"] = "true"
METRICS = Path(shared) if (shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR")) else None
try:
    NAMES = with_variables(bentoml.use_arguments(Cascades), os.environ)
    SETTINGS = settings_of(NAMES.settings, Path(__file__).parent)
    TRACING = None if OFF else tracing_settings(os.environ)
except SieveError as error:
    raise SystemExit(str(error)) from None

# BentoML keeps a timer and the request's context alive for this long. Slow uploads need more than any budget.
API_TRAFFIC = {"timeout": 10}
TRAFFIC = {"timeout": 2}
RETRY_S = 0.2
# An API that finds its experts on other machines down answers without them rather than not at all, after this long.
PATIENCE_S = 60.0
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


DRAINING = Draining(os.environ.get("SIEVE_DRAIN_FILE"))


class Expert:
    """One expert: the model behind POST /infer, which takes whole batches of raw arrays from the API's process, and
    behind a batchable API for other callers. `bentoml serve service:TextExpert` serves it on a machine of its own.
    """

    model: t.Any

    def __init__(self) -> None:
        artifact = opened(self.model)
        self.digest = artifact.digest
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
        """The model was loaded and warmed before it could be asked; the first to ask opens the short way to /infer."""
        if not self._shortened:
            shorten(self, {"/infer": infer}, DRAINING)
            self._shortened = True
        return not DRAINING()


current: t.Callable[[], t.Any] = bentoml.get_current_service
infer = only_for(current, infer_endpoint(lambda items: current().run(items), lambda: current().tracer))
INFER = expert_app(current, infer)


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


for _service in (TextExpert, ImageExpert):
    _service.add_asgi_middleware(NoPickle)


def _not_shed(record: logging.LogRecord) -> bool:
    """Leave out the stack trace that BentoML logs for each item that its batcher sheds; the caller counts them."""
    return record.exc_info is None or not isinstance(record.exc_info[1], bentoml.exceptions.ServiceUnavailable)


API = Api(current, SETTINGS.max_in_flight)


@bentoml.service(name="sieve", traffic=API_TRAFFIC, logging=QUIET, metrics=UNCOUNTED, workers=SETTINGS.workers)
@bentoml.asgi_app(API.app(), path="/")
class Cascade:
    """Sieve: a screen answers what it is sure of, an expert is asked for the rest, inside a latency budget."""

    if NAMES.text:
        text_screen = stored(NAMES.text, "screen")
        text_expert_model = stored(NAMES.text, "expert")
        text_point = stored(NAMES.text, "operating-point")
        if not NAMES.text_expert_url:
            text_expert = bentoml.depends(TextExpert)
    if NAMES.image:
        image_screen = stored(NAMES.image, "screen")
        image_expert_model = stored(NAMES.image, "expert")
        image_point = stored(NAMES.image, "operating-point")
        if not NAMES.image_expert_url:
            image_expert = bentoml.depends(ImageExpert)

    def __init__(self) -> None:
        self.modalities: dict[str, Modality] = {}
        self._warm = False
        metrics = Metrics(METRICS)
        metrics.watch(API.admission)
        tracer = open_tracer("sieve", TRACING)
        tell_call = tracer.call_ended if tracer else None
        self.observer = Observer(metrics, tracer, stdout() if NAMES.log_requests else None)
        for kind in NAMES.served:
            models = (getattr(self, f"{kind}_{role}") for role in ("screen", "expert_model", "point"))
            url = NAMES.expert_url(kind) or str(getattr(self, f"{kind}_expert").to_async.url)
            self.modalities[kind] = modality(*models, url, metrics.drift_of(kind), tell_call)
            metrics.watch_modality(self.modalities[kind])
        settle()

    @bentoml.on_startup
    async def begin(self) -> None:
        """In every process of the API, whichever of them is asked whether it is ready."""
        self._getting_ready = asyncio.create_task(self._get_ready())

    async def _get_ready(self) -> None:
        """Until every expert has answered every shape of call, which teaches how long each takes."""
        until_s = time.monotonic() + (PATIENCE_S if NAMES.any_remote else math.inf)
        while not all(await asyncio.gather(*(m.warm_up_expert() for m in self.modalities.values()))):
            if time.monotonic() > until_s:
                logging.getLogger("sieve").warning("an expert does not answer; its screen answers alone until it does")
                break
            await asyncio.sleep(RETRY_S)
        shorten(self, API.posts, DRAINING)
        settle()
        self._warm = True

    async def __is_ready__(self) -> bool:
        return self._warm and not DRAINING()

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Before any worker starts: what cannot be served ends `bentoml serve` with one sentence."""
        if not NAMES.served:
            raise SystemExit("nothing to serve: give a name with --arg text=NAME, --arg image=NAME, or both")
        for kind, name in NAMES.served.items():
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


def modality(
    screen: bentoml.Model,
    expert: bentoml.Model,
    point: bentoml.Model,
    url: str,
    tell_drift: t.Callable[[Drift], None],
    tell_call: t.Callable[[CallSpan], None] | None,
) -> Modality:
    """Open a screen and its operating point and tie them to the expert at `url`."""
    opened_expert = opened(expert)
    call = RemoteExpert(url, str(expert.tag), opened_expert.digest)
    return open_modality(
        screen=opened(screen),
        screen_tag=str(screen.tag),
        expert=opened_expert,
        expert_tag=str(expert.tag),
        point=point_of(point),
        point_tag=str(point.tag),
        call=call,
        ask_providers=call.describe,
        tell_drift=tell_drift,
        tell_call=tell_call,
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
