"""What an expert's process has, whoever runs it."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from serving.cascade.store import of_tag, stored_in
from serving.cascade.versions import Versions
from serving.http.admin import ADDRESS, AdminKey
from serving.http.draining import Draining
from serving.http.expert_host import Around, ExpertHost
from serving.model.artifact import Artifact
from serving.settings import Settings
from tests.conftest import TinyCascades
from tests.serving.conftest import sample
from tests.stores import publish


def host(models: Path, metrics: Path | None, key: str = "", *, several: bool = False) -> ExpertHost:
    around = Around(metrics=metrics, draining=Draining(None), tracing=None, admin=AdminKey(key))
    model = of_tag(models, "tiny-text-expert:latest")
    return ExpertHost("tiny-text", model, partial(stored_in, models), around, settings=Settings(), several=several)


def test_it_serves_the_latest_version_and_has_no_address_of_operators_without_a_key(
    tiny_cascades: TinyCascades, clean_registry: None
) -> None:
    models = tiny_cascades.home / "models"
    ours = host(models, None, several=True)
    assert ours.endpoints.keys() == {"/infer", "/model", "/metrics"}
    assert ours.readiness.reason_against() == ""
    labels = {"modality": "text", "cascade": "tiny-text"}
    ours.models.run([np.array([2, 5, 3])])
    assert sample("sieve_expert_batch_size_count", **labels) == 1


@pytest.mark.parametrize("asked", ["newer", "first"])
def test_it_serves_what_operators_have_asked_for(
    tiny_cascades: TinyCascades, tmp_path: Path, clean_registry: None, asked: str
) -> None:
    models = Path(shutil.copytree(tiny_cascades.home / "models", tmp_path / "models", symlinks=True))
    first = of_tag(models, "tiny-text-expert:latest")
    publish(models, "tiny-text", "newer", mark="newer ")
    digests = {"first": Artifact.open(Path(first.path)).digest}
    digests["newer"] = Artifact.open(Path(of_tag(models, "tiny-text-expert:newer").path)).digest
    version = {"first": first.tag.partition(":")[2], "newer": "newer"}[asked]
    shared = tmp_path / "shared"
    shared.mkdir()
    Versions(shared).want("tiny-text", version, version)
    ours = host(models, shared, "k" * 20)
    assert {ADDRESS, "/admin/models/tiny-text"} <= ours.endpoints.keys()
    assert ours.models.digest == digests[asked] != digests["first" if asked == "newer" else "newer"]
