"""Which cascade can be the shadow of which."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import pytest

from serving.cascade.modality import StoredCascade
from serving.errors import ArtifactError
from serving.shadow.comparable import Comparable, require_comparable
from tests.conftest import TinyCascades
from tests.serving.shadow.two import stored_cascade


@pytest.fixture(scope="module")
def text(tiny_cascades: TinyCascades) -> StoredCascade:
    return stored_cascade(tiny_cascades)


def relabelled(cascade: StoredCascade, labels: tuple[str, ...]) -> StoredCascade:
    changed: dict[str, Any] = {}
    for role in ("screen", "expert"):
        stored = getattr(cascade, role)
        artifact = copy(stored.artifact)
        artifact.manifest = artifact.manifest.model_copy(update={"labels": labels})
        changed[role] = replace(stored, artifact=artifact)
    return replace(cascade, **changed)


def test_the_order_of_the_labels_may_differ_and_nothing_else(tiny_cascades: TinyCascades, text: StoredCascade) -> None:
    labels = text.screen.artifact.manifest.labels
    require_comparable(relabelled(text, labels[::-1]), text)
    others = (relabelled(text, ("other", *labels[1:])), stored_cascade(tiny_cascades, "tiny-image"))
    for other in others:
        with pytest.raises(ArtifactError, match=f"the shadow {other.name} must take what tiny-text takes"):
            require_comparable(other, text)


def test_a_shadow_is_held_against_the_first_of_its_kind(tiny_cascades: TinyCascades, text: StoredCascade) -> None:
    other = relabelled(text, ("other", *text.screen.artifact.manifest.labels[1:]))
    comparable = Comparable()
    comparable.require(stored_cascade(tiny_cascades, "tiny-image"), "image", shadow=False)
    comparable.require(text, "text", shadow=False)
    comparable.require(other, "text", shadow=False)
    comparable.require(text, "text", shadow=True)
    with pytest.raises(ArtifactError, match="the shadow"):
        comparable.require(other, "text", shadow=True)
