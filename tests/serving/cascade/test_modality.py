"""A cascade that is opened from its artifacts: what it says of itself, and how it warms up its expert."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.cascade import modality as modality_module
from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import Modality, StoredCascade, StoredModel, StoredPoint, require_pair
from serving.errors import ArtifactError, StageDownError
from serving.expert.call import Ran
from serving.model import session
from serving.model.artifact import Artifact, TextSettings
from serving.model.windows import longest
from serving.settings import Settings
from tests.conftest import TinyCascades
from tests.points import make_point


class Client:
    """An expert that runs `variant`, keeps the shapes it is called with, and raises `error` if there is one.

    `took_ms`: what each call in turn says that it took; 0.1 after these.
    """

    def __init__(self, variant: str, error: Exception | None = None, took_ms: Sequence[float] = ()) -> None:
        self.variant, self.error, self.took_ms = variant, error, list(took_ms)
        self.shapes: list[tuple[int, int]] = []

    async def __call__(self, items: Sequence[Any], *_: Any) -> Ran:
        if self.error:
            raise self.error
        self.shapes.append((len(items), longest(items)))
        return Ran(np.zeros((len(items), 2), dtype=np.float32), self.took_ms.pop(0) if self.took_ms else 0.1)

    async def describe(self) -> Mapping[str, str]:
        return {"asked": "CPUExecutionProvider", "got": "CPUExecutionProvider", "variant": self.variant}


@pytest.fixture(scope="module")
def stored(tiny_cascades: TinyCascades) -> StoredCascade:
    screen, expert = (
        StoredModel(Artifact.open(tiny_cascades.artifact("tiny-text", role)), f"tiny-text-{role}:1")
        for role in ("screen", "expert")
    )
    point = OperatingPoint.read(tiny_cascades.artifact("tiny-text", "operating-point"))
    return StoredCascade(screen=screen, expert=expert, point=StoredPoint(point, "tiny-text-operating-point:1"))


@pytest.fixture(scope="module")
def opened(stored: StoredCascade) -> Callable[[Client], Modality]:
    settings = Settings(max_batch_size=4)
    return lambda client: Modality(stored, client, settings, tell_drift=lambda _: None)


def test_a_screen_and_an_expert_of_two_runs_are_refused(stored: StoredCascade) -> None:
    with pytest.raises(ArtifactError, match="another pair"):
        StoredCascade(screen=stored.screen, expert=stored.screen, point=stored.point)


@pytest.mark.parametrize("same", [True, False])
def test_the_promise_applies_to_the_experts_variant_it_was_made_with(
    stored: StoredCascade, opened: Callable[[Client], Modality], same: bool
) -> None:
    wanted = stored.point.point.expert_variant
    variant = wanted if same else "gpu-fp16"
    said = asyncio.run(opened(Client(variant)).describe())
    assert said["operating_point"]["applies"] is same
    assert said["operating_point"]["why_not"] == (
        [] if same else [f"the promise was made for the expert's variant {wanted}, and gpu-fp16 runs"]
    )
    assert said["expert"]["execution_provider"]["variant"] == variant
    assert said["screen"]["tag"] == "tiny-text-screen:1"
    assert said["breaker"] == "closed"


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ({"against": "an expert computes something else"}, ["an expert computes something else"]),
        ({"variant": None, "error": "no answer"}, ["it is not known what the expert runs: no answer"]),
        ({"variant": None}, ["it is not known what the expert runs: it does not say"]),
    ],
)
def test_a_promise_does_not_apply_to_an_expert_that_computes_something_else_or_does_not_say(
    stored: StoredCascade, opened: Callable[[Client], Modality], runs: dict[str, str | None], why: list[str]
) -> None:
    wanted = stored.point.point.expert_variant
    client = Client(wanted)

    async def describe() -> Mapping[str, Any]:
        return {name: value for name, value in {"variant": wanted, **runs}.items() if value is not None}

    client.describe = describe  # type: ignore[method-assign]
    modality = opened(client)
    assert asyncio.run(modality.against_promise()) == why
    point = asyncio.run(modality.describe())["operating_point"]
    assert (point["applies"], point["why_not"]) == (False, why)


SHAPES = [(size, length) for length in (8, 16, 32, 48) for size in (1, 2, 4)]


def test_a_warm_up_calls_the_expert_three_times_with_every_length_and_every_batch_size_that_it_takes(
    opened: Callable[[Client], Modality],
) -> None:
    client = Client("cpu-int8")
    modality = opened(client)
    assert asyncio.run(modality.warm_up_expert())
    assert client.shapes == 3 * SHAPES
    assert modality.escalations.forecast.run_ms(4, 48) > 0


def test_as_many_calls_are_in_flight_as_the_expert_has_lanes_or_more_where_that_is_stated(
    stored: StoredCascade, opened: Callable[[Client], Modality]
) -> None:
    client = Client("cpu-int8")
    said: dict[str, str] = {}

    async def describe() -> Mapping[str, str]:
        return said

    client.describe = describe  # type: ignore[method-assign]
    modality = opened(client)
    forecast = modality.escalations.forecast
    for runs, calls in (
        ({"variant": "cpu-int8"}, 1),
        ({"variant": "gpu-fp16", "lanes": "4"}, 4),
        ({"error": "the expert does not answer"}, 4),  # as before: it may only be busy
        ({"variant": "gpu-fp16", "lanes": "many"}, 4),
        ({"variant": "gpu-fp16", "lanes": "999"}, 16),
        ({"variant": "cpu-int8"}, 1),
    ):
        said = runs
        asyncio.run(modality.against_promise())
        assert forecast.side_by_side == calls
    said = {"variant": "gpu-fp16", "lanes": "2"}
    assert asyncio.run(modality.warm_up_expert())
    assert forecast.side_by_side == 2
    stated = Modality(stored, client, Settings(calls_in_flight=3), tell_drift=lambda _: None)
    asyncio.run(stated.describe())
    assert stated.escalations.forecast.side_by_side == 3


def test_texts_in_windows_are_warmed_up_too(stored: StoredCascade) -> None:
    def windowed(model: StoredModel) -> StoredModel:
        manifest = model.artifact.manifest
        settings = manifest.settings.model_copy(update={"long_texts": "windows"})
        return StoredModel(
            Artifact(model.artifact.folder, manifest.model_copy(update={"settings": settings})), model.tag
        )

    screen, expert = windowed(stored.screen), windowed(stored.expert)
    digests = {"screen_digest": screen.artifact.digest, "expert_digest": expert.artifact.digest}
    point = StoredPoint(stored.point.point.model_copy(update=digests), stored.point.tag)
    client, cascade = Client("cpu-int8"), StoredCascade(screen=screen, expert=expert, point=point)
    modality = Modality(cascade, client, Settings(max_batch_size=4), tell_drift=lambda _: None)
    assert asyncio.run(modality.warm_up_expert())
    assert client.shapes[:21] == [*SHAPES, *((size, windows * 48) for windows in (2, 4, 8) for size in (1, 2, 4))]
    item, expert_item, truncated = modality.prepare("where is my card " * 20)
    assert item is expert_item
    assert (item.ndim, item.shape[1], truncated) == (2, 48, False)
    assert modality.cascade.screen([item, item[0]]).shape == (2, 6)


def test_the_least_of_the_warm_ups_calls_counts(opened: Callable[[Client], Modality]) -> None:
    cold, bad = [400.0, *[5.0] * 11], [*[5.0] * 11, 700.0]
    modality = opened(Client("cpu-int8", took_ms=[*cold, *bad, *[5.0] * 12]))
    assert asyncio.run(modality.warm_up_expert())
    assert [modality.escalations.forecast.run_ms(size, length) for size, length in SHAPES] == [5.0] * 12


def test_a_warm_up_that_takes_long_is_not_repeated(
    opened: Callable[[Client], Modality], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modality_module, "WARM_UP_QUICK_S", 0.0)
    client = Client("cpu-int8")
    assert asyncio.run(opened(client).warm_up_expert())
    assert client.shapes == SHAPES


def test_shapes_that_no_budget_allows_are_left_out(opened: Callable[[Client], Modality]) -> None:
    client = Client("cpu-int8", took_ms=[10, 20, 40, 300, 600, 800, 1600, 3200, 900, 900, 900] + [1500] * 20)
    assert asyncio.run(opened(client).warm_up_expert())
    assert client.shapes[:7] == [(1, 8), (2, 8), (4, 8), (1, 16), (2, 16), (1, 32), (1, 48)]


def test_an_expert_that_is_too_slow_for_any_budget_is_ready_and_one_warning_says_so(
    opened: Callable[[Client], Modality], warned: list[str]
) -> None:
    client = Client("cpu-int8", took_ms=[1300.0] * 99)
    assert asyncio.run(opened(client).warm_up_expert())
    assert set(client.shapes) == {(1, 8)}, "longer ones are no faster"
    (said,) = warned
    assert "takes 1,300 ms for one item of length 8 and no budget is longer than 1,000 ms" in said
    assert "its screen answers such items and longer ones alone" in said


def test_an_expert_that_never_answers_does_not_hold_up_the_service(
    opened: Callable[[Client], Modality], warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modality_module, "WARM_UP_LIMIT_S", 0.05)
    modality = opened(Client("cpu-int8"))
    monkeypatch.setattr(modality.escalations, "measure", lambda _: asyncio.sleep(60))
    assert asyncio.run(modality.warm_up_expert())
    assert "has not answered every batch size and length" in warned[0]


def test_a_warm_up_of_an_expert_that_is_down_fails(opened: Callable[[Client], Modality]) -> None:
    modality = opened(Client("cpu-int8", StageDownError("gone")))
    for _ in range(5):
        assert not asyncio.run(modality.warm_up_expert())
    assert modality.escalations.breaker.state(time.monotonic()) == "closed", "nobody has asked yet"


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What is logged as a warning."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("sieve").addHandler(handler)
    yield said
    logging.getLogger("sieve").removeHandler(handler)


@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True)])
def test_a_stage_for_pairs_goes_with_none_for_single_texts(ours: bool, theirs: bool) -> None:
    def artifact(digest: str, pairs: bool) -> Any:
        settings = TextSettings(max_tokens=8, pad_token_id=0, inputs=("input_ids",), pairs=pairs)
        return SimpleNamespace(
            digest=digest, manifest=SimpleNamespace(labels=("a", "b"), settings=settings, thresholds=None)
        )

    point = make_point()
    digests = point.screen_digest, point.expert_digest
    require_pair(artifact(digests[0], ours), artifact(digests[1], ours), point)
    with pytest.raises(ArtifactError, match="must both be for pairs of texts or both for single texts, got the"):
        require_pair(artifact(digests[0], ours), artifact(digests[1], theirs), point)


def test_a_screen_whose_runtime_is_missing_runs_another_variant_without_the_promise(
    stored: StoredCascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "is_installed", lambda runtime: runtime == "onnxruntime")
    screen, wanted = stored.screen.artifact, "cpu-fp32-openvino"
    there = screen.manifest.variants["cpu-fp32"].model_copy(update={"runtime": "openvino"})
    manifest = screen.manifest.model_copy(update={"variants": {**screen.manifest.variants, wanted: there}})
    artifact = Artifact(screen.folder, manifest)
    point = stored.point.point.model_copy(update={"screen_variant": wanted, "screen_digest": artifact.digest})
    changed = StoredCascade(
        screen=StoredModel(artifact, "tiny-text-screen:2"),
        expert=stored.expert,
        point=StoredPoint(point, "tiny-text-operating-point:2"),
    )
    client = Client(point.expert_variant)
    said = asyncio.run(Modality(changed, client, Settings(), tell_drift=lambda _: None).describe())
    assert said["screen"]["execution_provider"]["variant"] == "cpu-int8"
    assert said["operating_point"]["why_not"] == [
        f"the promise was made for the screen's variant {wanted}, and cpu-int8 runs"
    ]


def test_what_is_open_ends_with_it_without_a_collection(opened: Callable[[Client], Modality]) -> None:
    gc.collect()
    gc.disable()  # what was frozen is never collected, and a collection stops all requests
    try:
        made = opened(Client("cpu-int8"))
        asyncio.run(made.warm_up_expert())
        sessions = weakref.ref(made._session)
        del made
        assert sessions() is None
    finally:
        gc.enable()
