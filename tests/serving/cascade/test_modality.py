"""A cascade that is opened from its artifacts: what it says of itself, and how it warms up its expert."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import Modality, StoredCascade, StoredModel, StoredPoint
from serving.errors import ArtifactError, StageDownError
from serving.model.artifact import Artifact
from serving.settings import Settings
from tests.conftest import TinyCascades


class Client:
    """An expert that runs `variant`, keeps the shapes it is called with, and raises `error` if there is one."""

    def __init__(self, variant: str, error: Exception | None = None) -> None:
        self.variant, self.error = variant, error
        self.shapes: list[tuple[int, int]] = []

    async def __call__(self, items: Sequence[Any], traceparent: str | None = None) -> tuple[Any, float]:
        if self.error:
            raise self.error
        self.shapes.append((len(items), max(len(item) for item in items)))
        return np.zeros((len(items), 2), dtype=np.float32), 0.1

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
    variant = stored.point.point.expert_variant if same else "gpu-fp16"
    said = asyncio.run(opened(Client(variant)).describe())
    assert said["operating_point"]["applies"] is same
    assert said["expert"]["execution_provider"]["variant"] == variant
    assert said["screen"]["tag"] == "tiny-text-screen:1"
    assert said["breaker"] == "closed"


def test_a_warm_up_calls_the_expert_with_every_length_and_every_batch_size_that_it_takes(
    opened: Callable[[Client], Modality],
) -> None:
    client = Client("cpu-int8")
    modality = opened(client)
    assert asyncio.run(modality.warm_up_expert())
    lengths = {length for _, length in client.shapes}
    assert client.shapes == [(size, length) for length in sorted(lengths) for size in (1, 2, 4)]
    assert modality.escalations.forecast.expected_ms(4, max(lengths)) > 0


def test_a_warm_up_of_an_expert_that_is_down_fails(opened: Callable[[Client], Modality]) -> None:
    assert not asyncio.run(opened(Client("cpu-int8", StageDownError("gone"))).warm_up_expert())
