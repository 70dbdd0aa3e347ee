"""Versions of the packages, which figures depend on beside the recipe."""

from __future__ import annotations

import importlib.metadata

_PACKAGES = (
    *("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime-gpu", "neural-compressor"),
    *("torch-pruning", "tokenizers", "numpy", "pillow"),
)


def versions() -> dict[str, str]:
    """Version by package, as installed."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}
