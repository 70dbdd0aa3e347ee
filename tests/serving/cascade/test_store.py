"""The model store read without BentoML: the same models, in the same order, as BentoML finds there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from serving.cascade.store import of_tag, stored_in
from serving.errors import ArtifactError
from tests.conftest import TinyCascades
from tests.stores import publish

NAME = "tiny-text-expert"


@pytest.fixture
def models(tiny_cascades: TinyCascades, tmp_path: Path) -> Path:
    """A store with two versions of a cascade."""
    copied = Path(shutil.copytree(tiny_cascades.home / "models", tmp_path / "models", symlinks=True))
    publish(copied, "tiny-text", "second")
    return copied


def test_it_finds_what_bentoml_finds(models: Path) -> None:
    from bentoml._internal.models import ModelStore

    theirs = sorted(ModelStore(models).list(NAME), key=lambda model: model.creation_time, reverse=True)
    ours = stored_in(models, NAME)
    assert len(ours) == 2
    assert {(entry.tag, entry.path) for entry in ours} == {(str(model.tag), model.path) for model in theirs}
    assert of_tag(models, f"{NAME}:latest").tag == str(ModelStore(models).get(NAME).tag)
    assert of_tag(models, f"{NAME}:second").path == str(models / NAME / "second")


def test_the_newest_comes_first(models: Path) -> None:
    (first,) = (path for path in (models / NAME).iterdir() if path.is_dir() and path.name != "second")
    about = models / NAME / "second" / "model.yaml"
    for year, newest in (("2001", first.name), ("2999", "second")):
        lines = [line for line in about.read_text().splitlines() if not line.startswith("creation_time")]
        about.write_text("\n".join([*lines, f"creation_time: '{year}-01-01T00:00:00+00:00'", ""]))
        assert stored_in(models, NAME)[0].tag == f"{NAME}:{newest}"
        (models / NAME / "latest").unlink(missing_ok=True)
        assert of_tag(models, f"{NAME}:latest").tag == f"{NAME}:{newest}"


def test_what_is_not_there_is_said_with_the_remedy(models: Path) -> None:
    assert stored_in(models, "nothing") == []
    for tag in (f"{NAME}:third", "nothing:latest"):
        with pytest.raises(ArtifactError, match=f"model {tag} is not in the model store"):
            of_tag(models, tag)
    (models / NAME / "second" / "model.yaml").write_text("name: x\n")
    with pytest.raises(ArtifactError, match="must say when the model was made"):
        stored_in(models, NAME)
