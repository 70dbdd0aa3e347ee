from __future__ import annotations

from pathlib import Path

import bentoml
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models.model import ModelStore

from optimize.publish.cascades import ROLES, open_cascade
from serving.errors import ArtifactError
from tests.optimize.score.tiny_models import tiny_cascade


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store with one cascade."""
    models = tmp_path / "models"
    models.mkdir()
    tiny_cascade(tmp_path / "cascade")
    for role in ROLES:
        with bentoml.models.create(f"tiny-{role}", _model_store=ModelStore(models)) as model:
            for path in (tmp_path / "cascade" / role).rglob("*"):
                if path.is_file():
                    target = Path(model.path) / path.relative_to(tmp_path / "cascade" / role)
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(path.read_bytes())
    return models


def test_a_cascade_is_opened_by_its_name(store: Path) -> None:
    with BentoMLContainer.model_store.patch(ModelStore(store)):
        opened = open_cascade("tiny")
    tags = [opened.screen.tag, opened.expert.tag, opened.point.tag]
    assert tags == [f"tiny-{role}:{(store / f'tiny-{role}' / 'latest').read_text()}" for role in ROLES]
    assert opened.point.point.screen_digest == opened.screen.artifact.digest


@pytest.mark.parametrize("name", ["other", "not a name!"])
def test_a_cascade_that_is_not_there_is_told_which_are(store: Path, name: str) -> None:
    with (
        BentoMLContainer.model_store.patch(ModelStore(store)),
        pytest.raises(ArtifactError, match=rf"{name} is no cascade of the model store, which has tiny; make it with"),
    ):
        open_cascade(name)
