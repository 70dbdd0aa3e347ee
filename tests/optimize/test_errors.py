from __future__ import annotations

import re

import optimize.errors
from serving.errors import SieveError


def test_the_tree_at_the_top_of_the_file_draws_every_error() -> None:
    assert optimize.errors.__doc__ is not None
    drawn = set(re.findall(r"── (\w+) ", optimize.errors.__doc__))
    there = {
        name
        for name, kind in vars(optimize.errors).items()
        if isinstance(kind, type) and issubclass(kind, SieveError) and kind is not SieveError
    }
    assert drawn == there
