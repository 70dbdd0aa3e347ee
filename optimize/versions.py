"""Versions of the packages that decide what a build comes to."""

from __future__ import annotations

import importlib.metadata

_PACKAGES = ("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime-gpu", "neural-compressor")
_PACKAGES += ("torch-pruning", "tokenizers", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Version by package, as installed."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}
