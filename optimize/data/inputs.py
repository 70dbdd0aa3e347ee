"""Splits to batches, through serving's own preprocessing, so that training and measurements see what is served."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optimize.data.image_file import ImageFile
from optimize.data.splits import Split
from optimize.data.token_ids import TokenIds, in_memory, kept
from optimize.kept import Keep
from optimize.results import digest_of
from optimize.versions import versions
from serving.arrays import Array, Logits
from serving.model.artifact import ImageSettings, TextSettings, sha256_of
from serving.model.head import Decisions
from serving.model.image import ImageDecoder
from serving.model.pairs import text_encoder
from serving.model.text import TextEncoder, TextPair
from serving.model.windows import groups_of, length_of, rows_of

DECODED_BYTES = 1_000_000_000
"""What the decoded images of a split that come as pixels may take in memory."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One split as arrays.

    Each item has token ids int64 [tokens], or int64 [windows, max_tokens] for a long text in windows, or pixels float32
    [channels, height, width].
    """

    name: str
    items: Sequence[Array]
    targets: Decisions
    """Label indices [items], or label sets bool [items, labels]."""
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """What the time of each item goes by: the tokens of a text."""
        if isinstance(self.items, TokenIds):
            return self.items.lengths
        return np.array([length_of(item) for item in self.items], dtype=np.int32)

    @property
    def rows(self) -> NDArray[np.int32]:
        """How many rows of a batch each item takes."""
        if isinstance(self.items, TokenIds):
            return self.items.rows
        return np.array([rows_of(item) for item in self.items], dtype=np.int32)

    def take(self, indices: Iterable[int]) -> list[Array]:
        """The items at `indices`, in that order."""
        return [self.items[index] for index in indices]


def decoded(image: ImageFile | NDArray[np.uint8], decoder: ImageDecoder) -> Array:
    """An image file or pixels -> float32 [channels, height, width], decoded as a request's image is."""
    if isinstance(image, ImageFile):
        return decoder.decode(image.read(), image.name)
    return decoder.from_pixels(image)


class _LazyImages(Sequence[Array]):
    """Decodes on access, so that images which do not fit into memory need not."""

    def __init__(self, images: Sequence[ImageFile | NDArray[np.uint8]], decoder: ImageDecoder) -> None:
        self._images, self._decoder = images, decoder

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        return decoded(self._images[index], self._decoder)


class Preparer:
    """Serving's preprocessing of one modality, over whole splits. `folder` holds the tokeniser of a text model."""

    def __init__(self, settings: TextSettings | ImageSettings, folder: Path | None = None) -> None:
        self.settings, self.folder = settings, folder
        self.key = digest_of(settings.model_dump())  # equal keys mean equal arrays
        if isinstance(settings, TextSettings):
            assert folder is not None
            self._text: TextEncoder | None = text_encoder(settings, folder)
            self.key += sha256_of(folder / settings.tokenizer)
        else:
            self._text = None
            self._image = ImageDecoder(settings)

    def prepare(self, split: Split, keep: Keep | None = None) -> Prepared:
        """A split as arrays; `keep` puts token ids on disk for this run and the next, instead of into memory."""
        items: Sequence[Array]
        if self._text is not None:
            items = self._token_ids(self._text, split, keep)
        elif isinstance(split.inputs[0], ImageFile) or self._decoded_bytes(split) > DECODED_BYTES:
            items = _LazyImages(split.inputs, self._image)
        else:
            items = [decoded(pixels, self._image) for pixels in split.inputs]
        return Prepared(split.name, items, split.targets, split.ids)

    def _decoded_bytes(self, split: Split) -> int:
        """What the images of a split take when they are decoded."""
        settings = self.settings
        assert isinstance(settings, ImageSettings), "texts are not decoded"
        return len(split) * len(settings.mean) * settings.height * settings.width * np.dtype(np.float32).itemsize

    def tokens_name(self, split: Split) -> str:
        """What the token ids of a split are kept under."""
        key = digest_of([split.digest, self.key, _is_whole(split), versions()])
        return f"tokens-{split.name}-{key[:12]}"

    def _token_ids(self, encoder: TextEncoder, split: Split, keep: Keep | None) -> TokenIds:
        encode = encoder.encode_batch if _is_whole(split) else lambda texts: [encoder.item(text)[0] for text in texts]
        # An item of a pair has the token types above its ids.
        dtype = np.int64 if isinstance(split.inputs[0], TextPair) else np.int32
        if keep is None:
            return in_memory(split.inputs, encode, dtype)
        return kept(split.inputs, encode, dtype, keep(self.tokens_name(split)))

    def collate(self, items: Sequence[Array]) -> dict[str, Array]:
        """One batch by the names of the graph's inputs; texts are padded to the longest of the batch."""
        return self._text.collate(items) if self._text is not None else self._image.collate(items)

    def merged(self, logits: Logits, items: Sequence[Array]) -> Logits:
        """Logits [rows, labels] of a batch -> [items, labels]; a text in windows has several rows."""
        return self._text.merged(logits, items) if self._text is not None else self._image.merged(logits, items)

    def tensors(self, items: Sequence[Array]) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array) for name, array in self.collate(items).items()}


def _is_whole(split: Split) -> bool:
    """Whether a text is one row, whatever its length: a loss needs that, and a label is no label of each window."""
    return split.name == "train"


def batch_sizes(data: Prepared, size: int) -> list[int]:
    """How many items the batches of a training have, in the order in which they are cut.

    A single image at the end joins the batch before it: batch norm learns nothing from one image, and fails where the
    last group of a ResNet sees one pixel.
    """
    sizes = [size] * (len(data) // size)
    rest = len(data) % size
    if rest == 1 and sizes and data.items[0].ndim == 3:
        sizes[-1] += rest
    elif rest:
        sizes.append(rest)
    return sizes


def shuffled_batches(data: Prepared, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Index arrays that cover `data` once; items of similar length share a batch, which saves padding."""
    order = rng.permutation(len(data))
    if data.items[0].ndim == 1:
        chunk, lengths = size * 16, data.lengths
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            order[start : start + chunk] = part[np.argsort(lengths[part], kind="stable")]
    sizes = batch_sizes(data, size)
    ends = np.cumsum(sizes)
    yield from (order[ends[i] - sizes[i] : ends[i]] for i in rng.permutation(len(ends)))


def ordered_batches(data: Prepared, size: int) -> Iterator[NDArray[np.int64]]:
    """Index arrays by item length, with `size` rows at most unless one text has more; images keep their order."""
    order = np.arange(len(data))
    if len(data) and data.items[0].ndim == 3:
        yield from (order[i : i + size] for i in range(0, len(order), size))
        return
    order = np.argsort(data.lengths, kind="stable")
    yield from (order[part] for part in groups_of(data.rows[order].tolist(), size))


def collect(data: Prepared, size: int, run: Callable[[NDArray[np.int64]], Array]) -> Array:
    """Call `run` on batches of indices and return its rows [items, ...] in the order of `data`."""
    rows: Array | None = None
    for indices in ordered_batches(data, size):
        got = run(indices)
        if rows is None:
            rows = np.empty((len(data), *got.shape[1:]), dtype=got.dtype)
        rows[indices] = got
    assert rows is not None, "a split is never empty"
    return rows


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Seeded views of images: shifted by up to `crop` pixels, mirrored by `flip`, mixed with another image by `mixup`.

    Mixtures are those of Zhang et al. 2018 (arXiv:1710.09412), with shares drawn evenly from 0 to 1. A view is a fixed
    function of (seed, view, index). So a teacher's outputs can be kept, and student and teacher see the same view
    ("function matching", Beyer et al. 2022, arXiv:2106.05237). View 0 is the image itself.
    """

    crop: int = 0
    flip: bool = False
    mixup: bool = False
    seed: int = 0

    def partners(self, indices: NDArray[np.int64], view: int, count: int) -> tuple[NDArray[np.int64], torch.Tensor]:
        """Indices of the images to mix in, and the shares [batch, 1, 1, 1] that the images of `indices` keep."""
        rng = np.random.default_rng([self.seed, view, 1])
        others, shares = rng.permutation(count)[indices], rng.random(count, dtype=np.float32)[indices]
        return others, torch.from_numpy(shares)[:, None, None, None]

    def apply(self, pixels: torch.Tensor, indices: NDArray[np.int64], view: int, count: int) -> torch.Tensor:
        """The view of `pixels` float32 [batch, channels, height, width]; `count` is the size of the whole split."""
        if view == 0 or not (self.crop or self.flip):
            return pixels
        rng = np.random.default_rng([self.seed, view])
        shifts = rng.integers(0, 2 * self.crop + 1, size=(count, 2))[indices]
        mirrored = rng.random(count)[indices] < 0.5
        height, width = pixels.shape[-2:]
        padded = torch.nn.functional.pad(pixels, (self.crop,) * 4)
        views = []
        for image, (down, right), mirror in zip(padded, shifts.tolist(), mirrored.tolist(), strict=True):
            cut = image[:, down : down + height, right : right + width]
            views.append(cut.flip(-1) if mirror and self.flip else cut)
        return torch.stack(views)
