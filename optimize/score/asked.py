"""What a user asks of `score` beside NAME, IN and OUT."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from optimize.errors import ScoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options that decide what the answers are and how they are named; a run that goes on must have the same."""

    text_column: str | None = None
    text_pair_column: str | None = None
    image_column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    scores: bool = False
    prefix: str = ""
    """Stands before the name of each column of answers."""

    def described(self) -> dict[str, Any]:
        """The options by name, as JSON keeps them."""
        return asdict(self)

    def input_columns(self, kind: str, *, pairs: bool) -> tuple[str, ...]:
        """The columns of a table that a cascade of this kind reads. Raises ScoreError for options that it has not."""
        if kind == "image":
            if self.text_column or self.text_pair_column:
                raise ScoreError("--text-column is for cascades of texts, and this one is for images; leave it out")
            return (self.image_column or "image",)
        if self.image_column:
            raise ScoreError("--image-column is for cascades of images, and this one is for texts; leave it out")
        if self.text_pair_column and not pairs:
            raise ScoreError(
                "--text-pair-column is for cascades of pairs of texts, and this one is for single texts; leave it out"
            )
        text = self.text_column or "text"
        return (text, self.text_pair_column or "text_pair") if pairs else (text,)
