"""An artifact to profile, and generated requests for it that go through serving's own preprocessing."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from optimize.errors import ProfileError
from serving.arrays import Array
from serving.model.artifact import Artifact, TextSettings, VariantName
from serving.model.device import gpu_present
from serving.model.preprocess import example_items, preprocessor
from serving.model.session import served_variant
from serving.model.text import TextEncoder, TextPair

TRACED_TOKENS = 32


@dataclass(frozen=True, order=True)
class Cell:
    """The shape of a batch: `batch_size` items of `length` tokens; 0 for images, which have one shape."""

    length: int
    batch_size: int


class Subject:
    """An artifact and the requests to profile it with: texts of the tokeniser's own words, or JPEGs of noise.

    The time of a model depends on the length of a text and not on its words, so words are drawn by `seed`.
    """

    def __init__(self, artifact: Artifact, tag: str, seed: int = 0) -> None:
        self.artifact, self.tag = artifact, tag
        self.name = artifact.manifest.name
        self.preprocess = preprocessor(artifact)
        self._rng = np.random.default_rng(seed)

    @property
    def is_text(self) -> bool:
        return isinstance(self.artifact.manifest.settings, TextSettings)

    def lengths(self, asked: tuple[int, ...] | None) -> tuple[int, ...]:
        """The lengths asked for in tokens, else serving's own; (0,) for images. Raises ProfileError for a wrong one."""
        settings = self.artifact.manifest.settings
        if not isinstance(settings, TextSettings):
            return (0,)
        if asked is None:
            return tuple(len(item) for item in example_items(settings))
        for length in asked:
            if not 3 <= length <= settings.max_tokens:
                raise ProfileError(
                    f"{self.name} takes lengths of 3 to {settings.max_tokens} tokens, got {length}; choose others"
                )
        return asked

    def traced_length(self, asked: int | None) -> int:
        """The length of the traces: `asked`, else 32 tokens or the longest if that is shorter; 0 for images."""
        if asked is not None:
            return self.lengths((asked,))[0]
        settings = self.artifact.manifest.settings
        return min(TRACED_TOKENS, settings.max_tokens) if isinstance(settings, TextSettings) else 0

    def variants(self, asked: tuple[str, ...]) -> tuple[VariantName, ...]:
        """The variants asked for, for "all" those that can be traced on this machine, else the one served on it.

        Raises ArtifactError for a variant that is not there, ProfileError for one that ONNX Runtime does not run.
        """
        manifest = self.artifact.manifest
        traced = [name for name, variant in manifest.variants.items() if variant.runtime == "onnxruntime"]
        if "all" in asked:
            return tuple(name for name in traced if _runs_here(manifest.variants[name].provider))
        served = served_variant(self.artifact) if manifest.role == "expert" else manifest.default_cpu
        for name in (chosen := asked or (served,)):
            self.artifact.variant_path(name)  # type: ignore[arg-type]  # says which there are
            if name not in traced:
                raise ProfileError(
                    f"{self.name} {name} runs in OpenVINO, and a profile is made of ONNX Runtime's traces; name "
                    f"another variant with --variant: {', '.join(traced)}"
                )
        return chosen  # type: ignore[return-value]  # checked above

    def requests(self, cell: Cell) -> list[Any]:
        """Texts of about `cell.length` tokens, pairs of two such texts of half the length, or JPEG files."""
        return [self._request(cell.length) for _ in range(cell.batch_size)]

    def prepare(self, requests: list[Any]) -> list[Array]:
        """Requests -> items, through serving's preprocessing."""
        if isinstance(self.preprocess, TextEncoder):
            return [self.preprocess.encode(text) for text in requests]
        return [self.preprocess.decode(data) for data in requests]

    def items(self, cell: Cell) -> list[Array]:
        """Token ids int64 of exactly `cell.length`, or pixels float32 [channels, height, width]."""
        items = self.prepare(self.requests(cell))
        return [np.resize(item, cell.length) for item in items] if self.is_text else items

    @cached_property
    def _words(self) -> list[str]:
        settings = self.artifact.manifest.settings
        assert isinstance(settings, TextSettings)
        vocabulary = Tokenizer.from_file(str(self.artifact.folder / settings.tokenizer)).get_vocab()
        return sorted(token for token in vocabulary if token.isascii() and token.isalpha()) or ["a"]

    def _request(self, length: int) -> Any:
        settings = self.artifact.manifest.settings
        if not isinstance(settings, TextSettings):
            return self._jpeg()
        if settings.pairs:
            return TextPair(self._text(length - length // 2), self._text(length // 2))
        return self._text(length)

    def _text(self, length: int) -> str:
        return " ".join(self._rng.choice(self._words, max(length - 2, 1)))  # two more are the tokeniser's own

    def _jpeg(self) -> bytes:
        settings = self.artifact.manifest.settings
        assert not isinstance(settings, TextSettings)
        shape = (settings.height, settings.width, 3)
        file = io.BytesIO()
        Image.fromarray(self._rng.integers(0, 256, shape, dtype=np.uint8)).save(file, "JPEG")
        return file.getvalue()


def find(model: str) -> Subject:
    """The artifact in a folder, or with a tag of the model store. Raises ArtifactError when there is neither."""
    if Path(model).is_dir():
        return Subject(Artifact.open(model), Path(model).name)
    from optimize.publish.store import stored

    tag, folder = stored(model)
    return Subject(Artifact.open(folder), tag)


def _runs_here(provider: str) -> bool:
    return provider == "CPUExecutionProvider" or gpu_present()
