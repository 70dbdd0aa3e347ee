"""How every command of this folder ends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from loadtest.errors import LoadTestError


def end_with(main: Callable[[], int]) -> NoReturn:
    """Run `main` and end with its exit status; with 1 and the text of an error that a user can put right."""
    try:
        sys.exit(main())
    except LoadTestError as error:
        sys.exit(str(error))
