"""Fixtures that the simulation shares with the tests of the parts."""

from __future__ import annotations

from tests.serving.conftest import clean_registry as clean_registry
from tests.serving.conftest import metrics as metrics
