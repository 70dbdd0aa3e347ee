"""The few shapes in which a GPU sees batches: smaller ones are padded, so that every shape has run before a request."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from serving.arrays import Array
from serving.model.artifact import ImageSettings, TextSettings
from serving.settings import MAX_BATCH_SIZE, MAX_BATCH_TOKENS, MOST_BATCH_SIZE

WARM_UP_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
BATCH_SIZES = (*WARM_UP_BATCH_SIZES, 64, MOST_BATCH_SIZE)
LENGTHS = (8, 16, 32, 64, 128, 256)
"""Tokens of texts; the longest that a model takes comes on top."""


def sizes_up_to(most: int) -> tuple[int, ...]:
    """The batch sizes that are warmed up for a session that runs at most so many rows at once."""
    return (*(size for size in BATCH_SIZES if size < most), most)


def lengths_of(settings: TextSettings) -> tuple[int, ...]:
    """The lengths of texts that are timed, warmed up and padded to, the shortest first."""
    return (*(length for length in LENGTHS if length < settings.max_tokens), settings.max_tokens)


class Shapes:
    """The shapes of one model's batches: rows, and tokens or nothing more than rows for images.

    There are at most `most_rows` rows. Batches of more than MAX_BATCH_SIZE of them have at most `most_tokens` tokens,
    padding included: no call brings more.
    """

    def __init__(
        self,
        settings: TextSettings | ImageSettings,
        most_rows: int = MAX_BATCH_SIZE,
        most_tokens: int = MAX_BATCH_TOKENS,
    ) -> None:
        self._rows, self._most_tokens = sizes_up_to(most_rows), most_tokens
        self._lengths = lengths_of(settings) if isinstance(settings, TextSettings) else ()
        if isinstance(settings, ImageSettings):
            self._image = (len(settings.mean), settings.height, settings.width)
            self._pads = {settings.input: 0}
        else:
            self._pads = {name: settings.pad_token_id if name == "input_ids" else 0 for name in settings.inputs}

    @property
    def of_images(self) -> bool:
        """Whether there are pixels, whose layout can be chosen."""
        return not self._lengths

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs, which share a shape."""
        return tuple(self._pads)

    @property
    def dtype(self) -> str:
        """The type of the inputs."""
        return "int64" if self._lengths else "float32"

    def all(self) -> list[tuple[int, ...]]:
        """Every shape, the largest first: what it takes of memory does for the smaller ones, too."""
        if not self._lengths:
            return [(rows, *self._image) for rows in reversed(self._rows)]
        shapes = (shape for shape in product(self._rows, self._lengths) if self._comes(*shape))
        return sorted(shapes, key=lambda shape: shape[0] * shape[1], reverse=True)

    def fitting(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The smallest shape that holds a batch of `shape`; None if none does."""
        rows = next((size for size in self._rows if size >= shape[0]), None)
        if rows is None or not self._lengths:
            return None if rows is None else (rows, *shape[1:])
        tokens = next((length for length in self._lengths if length >= shape[1]), None)
        return None if tokens is None or not self._comes(rows, tokens) else (rows, tokens)

    def _comes(self, rows: int, tokens: int) -> bool:
        return rows <= MAX_BATCH_SIZE or rows * tokens <= self._most_tokens

    def fill(self, buffers: Mapping[str, Array], inputs: Mapping[str, Array]) -> None:
        """Write a batch into larger arrays: tokens are padded, and the rows that are left repeat the first one.

        A row of padding alone would have nothing to attend to, and what divides by nothing is slow or not a number.
        """
        for name, pad in self._pads.items():
            given, buffer = inputs[name], buffers[name]
            rows = len(given)
            if self._lengths:
                tokens = given.shape[1]
                buffer[:rows, :tokens] = given
                buffer[:rows, tokens:] = pad
            else:
                buffer[:rows] = given
            buffer[rows:] = buffer[0]
