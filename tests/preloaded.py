"""What `python -m optimize` imports, for the process that tests fork its commands from."""

from __future__ import annotations

import logging

from optimize.__main__ import prepare_environment

prepare_environment()
logging.disable(logging.WARNING)  # as the command line does before it imports them

import optimize.pipeline  # noqa: E402 - after the environment, which the libraries read at import
import optimize.profiling.run  # noqa: E402, F401
