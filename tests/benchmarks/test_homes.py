"""Model stores for measuring: what is changed in them, and that they can be served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.homes import ALWAYS, NEVER, ROLES, add_copy, add_version, latest, make_home
from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import require_pair
from serving.model.artifact import Artifact
from serving.model.preprocess import example_items, preprocessor
from serving.model.session import Session
from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, in_full, serve


def only(home: Path, name: str) -> Path:
    (folder,) = [path for path in (home / "models" / name).iterdir() if path.is_dir()]
    return folder


@pytest.mark.parametrize(("threshold", "stage"), [(ALWAYS, "expert"), (NEVER, "screen")])
def test_a_home_is_served_with_its_threshold(
    tiny_cascades: TinyCascades, tmp_path: Path, threshold: float, stage: str
) -> None:
    models = tiny_cascades.home / "models"
    home = make_home(tmp_path / "home", models, "tiny-text", threshold=threshold, empty=("screen", "expert"))
    screen, expert = (Artifact.open(only(home, f"tiny-text-{role}")) for role in ("screen", "expert"))
    require_pair(screen, expert, OperatingPoint.read(only(home, "tiny-text-operating-point")))
    for variant in screen.manifest.variants:
        batch = preprocessor(screen).collate([example_items(screen.manifest.settings)[0]] * 3)
        logits = Session(screen, variant).run(batch)
        assert logits.shape == (3, len(screen.manifest.labels))
        assert np.isfinite(logits).all()
    arguments = ("--arg", "text=tiny-text", "--arg", "image=")
    with serve(*arguments, home=home, folder=ROOT, log=tmp_path / "log") as server, server.client() as client:
        answer = in_full(client, "/classify_text", json={"text": "hello", "budget_ms": PATIENT_MS}).json()
    assert answer["stage"] == stage


def test_a_home_keeps_the_cascades_own_operating_point(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    models = tiny_cascades.home / "models"
    home = make_home(tmp_path / "home", models, "tiny-text", threshold=None)
    read = [OperatingPoint.read(latest(store, "tiny-text-operating-point")) for store in (models, home / "models")]
    assert read[0] == read[1]


def test_another_version_computes_the_same_under_other_digests(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", tiny_cascades.home / "models", "tiny-text", threshold=ALWAYS)
    before = {role: latest(home / "models", f"tiny-text-{role}") for role in ROLES}
    add_version(home, "tiny-text", "another")
    assert {role: latest(home / "models", f"tiny-text-{role}") for role in ROLES} == before
    screen, expert = (Artifact.open(before[role].with_name("another")) for role in ("screen", "expert"))
    require_pair(screen, expert, OperatingPoint.read(before["operating-point"].with_name("another")))
    assert screen.digest != Artifact.open(before["screen"]).digest
    assert screen.manifest.variants == Artifact.open(before["screen"]).manifest.variants


def test_a_copy_can_be_served_beside_the_cascade_as_its_shadow(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", tiny_cascades.home / "models", "tiny-text", threshold=NEVER)
    add_copy(home, "tiny-text", "copy-of-it")
    arguments = ("--arg", "text=tiny-text", "--arg", "shadow_text=copy-of-it", "--arg", "image=")
    with serve(*arguments, home=home, folder=ROOT, log=tmp_path / "log") as server, server.client() as client:
        (shadow,) = client.get("/models").json()["shadows"]
    assert (shadow["name"], shadow["models"]["expert"].partition(":")[0]) == ("copy-of-it", "copy-of-it-expert")
