from __future__ import annotations

import importlib.metadata
import re

from optimize.versions import versions


def test_versions_are_those_that_are_installed() -> None:
    found = versions()
    assert found["onnx"] == importlib.metadata.version("onnx")
    assert all(re.match(r"\d+\.\d+", version) for version in found.values())
