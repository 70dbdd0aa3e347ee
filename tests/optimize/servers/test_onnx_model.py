"""The runtime for MLServer stands alone: it goes where Sieve is not. tests/servers runs it in a real MLServer."""

from __future__ import annotations

import ast
import sys

from optimize.servers.mlserver import RUNTIME


def test_it_needs_mlserver_onnx_runtime_and_numpy_alone() -> None:
    roots = set()
    for node in ast.walk(ast.parse(RUNTIME.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").partition(".")[0])
    assert roots - sys.stdlib_module_names == {"mlserver", "onnxruntime", "numpy"}
