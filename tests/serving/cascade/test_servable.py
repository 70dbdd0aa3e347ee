from __future__ import annotations

from pathlib import Path

import pytest

from optimize.publish.cascades import ROLES, cascade_of
from serving.arguments import Arguments
from serving.cascade.servable import require_servable
from serving.errors import ArtifactError, ProviderError
from serving.model.device import Wanted
from tests.conftest import TinyCascades


def found(tiny_cascades: TinyCascades) -> tuple[object, Path]:
    folders = [tiny_cascades.artifact("tiny-text", role) for role in ROLES]
    return cascade_of(folders, [f"tiny-text-{role}:1" for role in ROLES]), folders[0]


@pytest.mark.parametrize("strict", [False, True])
def test_a_sound_cascade_may_be_served_for_its_own_kind_alone(tiny_cascades: TinyCascades, strict: bool) -> None:
    cascade, _ = found(tiny_cascades)
    right = Arguments(text="tiny-text", image="", strict=strict)
    require_servable(cascade, right.served[0], right)  # type: ignore[arg-type]
    wrong = Arguments(text="", image="tiny-text", strict=strict)
    with pytest.raises(ArtifactError, match="takes a cascade for images, got one for texts"):
        require_servable(cascade, wrong.served[0], wrong)  # type: ignore[arg-type]


def test_only_an_expert_that_is_started_here_needs_a_device_here(tiny_cascades: TinyCascades) -> None:
    cascade, _ = found(tiny_cascades)
    given = Arguments(text="another", image="", shadow_text="tiny-text", strict=True)
    (shadow,), nowhere = given.shadows, Wanted(device="cuda:99")
    with pytest.raises(ProviderError):
        require_servable(cascade, shadow, given, nowhere)  # type: ignore[arg-type]
    require_servable(cascade, shadow, given, nowhere, "nats://h:4222")  # type: ignore[arg-type]
