"""Fixtures that tests on a GPU share with those of serving."""

from __future__ import annotations

from tests.serving.conftest import clean_registry as clean_registry
