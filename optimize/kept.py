"""What recipes keep in a build folder beside their results: token ids, teacher outputs and labels, students taken in.

Several recipes may share a build folder, and what lies there. So a file lists what each of them uses, and a run that
has finished removes what only earlier forms of its recipe used.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from serving.model.artifact import write_json

FILE = "kept.json"
Keep = Callable[[str], Path]
"""Gives the place of what is kept under a name."""
NAME = re.compile(r"(tokens-[a-z]+|teacher-outputs|teacher-labels|student)-[0-9a-f]{12}")


class Kept:
    """What the recipe of this name keeps in `folder`."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self._folder, self._recipe = folder, recipe
        self._used: set[str] = set()

    def place(self, name: str) -> Path:
        """Where that of a `name` lies, or will lie; the recipe uses it from now on."""
        if name not in self._used:
            self._used.add(name)
            self._write({*self._listed().get(self._recipe, ()), name})
        return self._folder / name

    def remove_others(self, wanted: Iterable[str]) -> None:
        """Remove what earlier runs of the recipe used, but not this one, unless it is `wanted` or another recipe's."""
        listed, kept = self._listed(), {*self._used, *wanted}
        ours = {*listed.get(self._recipe, ()), *self._used}
        theirs = {name for recipe, names in listed.items() if recipe != self._recipe for name in names}
        for name in ours - kept - theirs:
            # What was not finished lies beside it.
            for path in self._folder.glob(f"{name}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._write(ours & kept)

    def _listed(self) -> dict[str, list[str]]:
        """The names that each recipe uses. Of what somebody wrote into the file, only such names are taken."""
        try:
            listed = json.loads((self._folder / FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {recipe: [name for name in names if NAME.fullmatch(name)] for recipe, names in listed.items()}

    def _write(self, names: set[str]) -> None:
        write_json(self._folder / FILE, {**self._listed(), self._recipe: sorted(names)})
