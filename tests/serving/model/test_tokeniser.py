"""One tokeniser for all files with one content, for as long as anybody holds it."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from weakref import ref

import pytest

from serving.errors import ArtifactError
from serving.model.artifact import Artifact, TextSettings
from serving.model.text import TextEncoder
from serving.model.tokeniser import shared_tokeniser
from tests.conftest import TinyCascades


@pytest.fixture
def files(tiny_cascades: TinyCascades, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A tokeniser, a copy of it, and another one."""
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "screen"))
    assert isinstance(artifact.manifest.settings, TextSettings)
    first, second, third = (tmp_path / f"{name}.json" for name in ("first", "second", "third"))
    content = (artifact.folder / artifact.manifest.settings.tokenizer).read_bytes()
    for each, end in ((first, b" \n"), (second, b" \n"), (third, b"\n ")):  # a content that no other test opens
        each.write_bytes(content + end)
    return first, second, third


def test_files_of_one_content_share_a_tokeniser_until_nobody_holds_it(files: tuple[Path, Path, Path]) -> None:
    first, second, third = files
    one = shared_tokeniser(first)
    assert shared_tokeniser(second) is one
    assert shared_tokeniser(third) is not one
    gone = ref(one)
    del one
    gc.collect()
    assert gone() is None
    first.write_bytes(third.read_bytes())
    assert (
        shared_tokeniser(first).tokenizer.encode("my card").ids
        == shared_tokeniser(second).tokenizer.encode("my card").ids
    )


def test_versions_of_a_model_share_their_tokeniser(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "screen"))
    settings = artifact.manifest.settings
    assert isinstance(settings, TextSettings)
    shutil.copyfile(artifact.folder / settings.tokenizer, tmp_path / settings.tokenizer)
    shorter = settings.model_copy(update={"max_tokens": 8})
    before, after = TextEncoder(settings, artifact.folder), TextEncoder(shorter, tmp_path)
    assert before._tokenizer is after._tokenizer
    long = "where is my refund " * 8
    assert (before.item(long)[0].shape[-1] > 8, after.item(long)[0].shape[-1]) == (True, 8), "each cuts for itself"


def test_what_is_no_tokeniser_is_told_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ArtifactError, match=r"is not a tokeniser file .*; publish the artifact again$"):
        shared_tokeniser(path)
    for content in (b"", b"{", b"\xff", b"{}"):
        path.write_bytes(content)
        for _ in range(2):
            with pytest.raises(ArtifactError, match="is not a tokeniser file"):
                shared_tokeniser(path)
