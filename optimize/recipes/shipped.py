"""The recipes that come with Sieve. Imports nothing heavy, for the command line."""

from __future__ import annotations

import tomllib
from pathlib import Path


def shipped_recipes() -> dict[str, Path]:
    """Path of each recipe, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def descriptions() -> dict[str, str]:
    """The description of each recipe, by name."""
    return {
        name: tomllib.loads(path.read_text(encoding="utf-8"))["description"] for name, path in shipped_recipes().items()
    }
