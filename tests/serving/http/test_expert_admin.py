"""An expert that is told to serve another version of its model."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from serving.errors import SwitchRefusedError
from serving.http import expert_admin as module
from serving.http.expert_admin import ExpertSwitching
from serving.http.expert_models import ExpertModels, open_expert
from serving.model.artifact import Artifact
from serving.settings import Settings
from serving.watch.expert_metrics import ExpertMetrics
from tests.conftest import TinyCascades
from tests.serving.cascade.test_opening import store_of
from tests.stores import publish


@pytest.fixture
def switching(tiny_cascades: TinyCascades, tmp_path: Path, clean_registry: None) -> ExpertSwitching:
    """The expert of the text cascade, in whose store there are v2 and v3, which is forged."""
    models = Path(shutil.copytree(tiny_cascades.home / "models", tmp_path / "models", symlinks=True))
    publish(models, "tiny-text", "v2", mark="v2 ")
    publish(models, "tiny-text", "v3", mark="v3 ", forged=True)
    first = open_expert(Artifact.open(tiny_cascades.artifact("tiny-text", "expert")), "tiny-text-expert:v1", Settings())
    metrics = ExpertMetrics("text", None, True, **first.info)
    return ExpertSwitching(ExpertModels(first, metrics), store_of(models), Settings())


def test_it_serves_a_version_and_opens_it_once(switching: ExpertSwitching, monkeypatch: pytest.MonkeyPatch) -> None:
    said = asyncio.run(switching.switch("tiny-text", "v2"))
    assert (said["name"], said["model"]) == ("tiny-text", "tiny-text-expert:v2")
    opened: list[Any] = []
    monkeypatch.setattr(module, "open_expert", lambda *arguments: opened.append(arguments))
    assert asyncio.run(switching.switch("tiny-text", "v2")) == said
    assert opened == []


@pytest.mark.parametrize(
    ("version", "says"),
    [("v9", "no such version of tiny-text-expert"), (None, "does not compute here what was certified")],
    ids=["absent", "forged"],
)
def test_what_it_cannot_serve_is_refused_with_the_reason(
    switching: ExpertSwitching, version: str | None, says: str
) -> None:
    before = switching._models.run
    with pytest.raises(SwitchRefusedError, match=says):
        asyncio.run(switching.switch("tiny-text", version))
    assert switching._models.run is before
