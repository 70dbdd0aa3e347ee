"""How the items of each checkpoint become arrays: a student of another family brings a tokeniser of its own.

Images are prepared alike for every stage, so that a cascade decodes one once for both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optimize.data.inputs import Prepared, Preparer
from optimize.data.splits import Split, SplitName, Splits
from optimize.errors import StepError
from optimize.input_settings import text_settings
from optimize.kept import Keep
from optimize.recipe import Recipe
from serving.model.artifact import ImageSettings


class StageInputs:
    """The preparers of a build's checkpoints, by their folders, and the splits that they prepared.

    `keep` gives the place of what is too much for memory. The others are callables because a teacher that labels the
    rows is there before the rows are known.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        image: Callable[[], ImageSettings | None],
        labels: Callable[[], tuple[str, ...]],
        splits: Callable[[], Splits],
        keep: Keep,
    ) -> None:
        self._recipe, self._image, self._labels, self._splits = recipe, image, labels, splits
        self._keep = keep
        self._preparers: dict[Path, Preparer] = {}
        self._prepared: dict[tuple[str, str], Prepared] = {}

    def preparer(self, folder: Path, *, of_student: bool = False) -> Preparer:
        """Serving's preprocessing; for texts with the tokeniser of the checkpoint in `folder`.

        `of_student`: a student may know fewer positions than the recipe asks for.
        """
        if folder not in self._preparers:
            self._preparers[folder] = self._made(folder, of_student)
        return self._preparers[folder]

    def _made(self, folder: Path, of_student: bool) -> Preparer:
        image = self._image()
        if image is not None:
            return Preparer(image)
        return Preparer(text_settings(self._recipe, self._labels(), folder, of_student=of_student), folder)

    def named(self, preparer: Preparer, name: SplitName) -> Prepared:
        """A split as arrays. Raises StepError for the holdout, which only `Build.read_holdout` reads."""
        if name == "holdout":
            raise StepError("the holdout is for the reported figures alone, and was asked for before; report this")
        return self.prepared(preparer, self._splits().named(name))

    def prepared(self, preparer: Preparer, split: Split) -> Prepared:
        """A split as arrays, made once for equal preparers."""
        key = split.name, preparer.key
        if key not in self._prepared:
            self._prepared[key] = preparer.prepare(split, self._keep)
        return self._prepared[key]
