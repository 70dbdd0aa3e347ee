"""A cascade as the model store has it: found by its version, and opened."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from serving.cascade.opening import Store, find_cascade, find_expert, open_cascade
from serving.errors import ArtifactError
from serving.model.artifact import MANIFEST
from tests.conftest import TinyCascades
from tests.stores import ROLES, publish


def entry(cascades: TinyCascades, name: str, role: str) -> Any:
    return SimpleNamespace(tag=f"{name}-{role}:v1", path=str(cascades.artifact(name, role)))


def test_the_three_models_of_a_cascade_are_one(tiny_cascades: TinyCascades) -> None:
    opened = open_cascade(*(entry(tiny_cascades, "tiny-text", role) for role in ROLES))
    assert (opened.name, opened.version) == ("tiny-text", "v1")
    assert (opened.screen.tag, opened.expert.tag) == ("tiny-text-screen:v1", "tiny-text-expert:v1")
    assert opened.point.point.screen_digest == opened.screen.artifact.digest


def test_models_that_do_not_belong_together_are_refused(tiny_cascades: TinyCascades) -> None:
    screen, expert = (entry(tiny_cascades, "tiny-text", role) for role in ("screen", "expert"))
    with pytest.raises(ArtifactError, match="chosen for another pair of screen and expert"):
        open_cascade(screen, expert, entry(tiny_cascades, "tiny-image", "operating-point"))
    with pytest.raises(ArtifactError, match=r"has no operating-point\.json"):
        open_cascade(screen, expert, SimpleNamespace(tag="tiny-text-operating-point:v1", path=screen.path))


@pytest.fixture
def models(tiny_cascades: TinyCascades, tmp_path: Path) -> Path:
    """A store with three versions of the text cascade: the first one, v2 and v3."""
    models = Path(shutil.copytree(tiny_cascades.home / "models", tmp_path / "models", symlinks=True))
    for version in ("v2", "v3"):
        publish(models, "tiny-text", version, mark=f"{version} ")
    return models


def store_of(models: Path) -> Store:
    def made(folder: Path) -> str:
        return str(yaml.safe_load((folder / "model.yaml").read_text())["creation_time"])

    def store(name: str) -> list[Any]:
        folders = sorted((path.parent for path in (models / name).glob("*/model.yaml")), key=made, reverse=True)
        return [SimpleNamespace(tag=f"{name}:{folder.name}", path=str(folder)) for folder in folders]

    return store


def test_a_version_brings_the_artifacts_that_its_operating_point_names(models: Path) -> None:
    for wanted, found in (("v2", "v2"), ("v3", "v3"), (None, "v3")):
        cascade = find_cascade(store_of(models), "tiny-text", wanted)
        assert (cascade.version, cascade.screen.tag) == (found, f"tiny-text-screen:{found}")
        assert all(label.startswith(f"{found} ") for label in cascade.expert.artifact.manifest.labels)
    assert find_expert(store_of(models), "tiny-text", "v2").tag == "tiny-text-expert:v2"
    assert find_expert(store_of(models), "tiny-text", None).tag == "tiny-text-expert:v3"


def test_what_is_not_in_the_store_is_told_what_is(models: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"^no such version of tiny-text-operating-point is in .* newest are: v3, v2"
    ):
        find_cascade(store_of(models), "tiny-text", "v9")
    with pytest.raises(ArtifactError, match="whose newest are: none; publish it there"):
        find_cascade(store_of(models), "tiny-other", None)
    shutil.rmtree(models / "tiny-text-expert" / "v3")
    with pytest.raises(ArtifactError, match=r"chosen for the tiny-text-expert with the digest \w{12}, which is not in"):
        find_cascade(store_of(models), "tiny-text", "v3")


def test_a_manifest_that_cannot_be_read_is_a_reason(models: Path) -> None:
    (models / "tiny-text-screen" / "v3" / MANIFEST).write_text('{"format": 3}')
    with pytest.raises(ArtifactError, match=r"is not in the model store .*One could not be read: .*manifest\.json"):
        find_cascade(store_of(models), "tiny-text", "v3")
    assert find_cascade(store_of(models), "tiny-text", "v2").version == "v2", "the others are still found"
