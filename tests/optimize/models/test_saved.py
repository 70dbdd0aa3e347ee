from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from optimize.build import Build
from optimize.models.saved import load_model, save_model


def test_saving_leaves_the_old_checkpoint_when_it_fails(
    text_build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(text_build.teacher.path, "text")
    folder = save_model(model, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(*_: Any, **__: Any) -> None:
        (tmp_path / "model.partial").mkdir()
        (tmp_path / "model.partial" / "config.json").write_text("{")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(type(model), "save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()
    save_model(model, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
