"""What is said of a model that is not in the store."""

from __future__ import annotations

import re
from collections.abc import Iterable


def absent(tag: str, stored: Iterable[str]) -> str:
    """The sentence for a missing model `tag`, NAME-ROLE:VERSION, with the cascades of the models that are `stored`."""
    name = re.sub("-(screen|expert|operating-point)$", "", tag.partition(":")[0])
    there = ", ".join(sorted({model.removesuffix("-screen") for model in stored if model.endswith("-screen")}))
    return (
        f"model {tag} is not in the BentoML model store; make it with `python -m optimize run {name}`, with `run "
        "PATH.toml` for a recipe of your own, or `make demo` for the two demo cascades. Cascades that are there: "
        f"{there or 'none'}"
    )
