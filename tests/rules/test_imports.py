"""Who may import whom, and how large a file may get: the architecture, held by one test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from optimize.steps.registry import STEPS as REGISTRY

ROOT = Path(__file__).parents[2]
PARTS = ("serving", "optimize", "loadtest", "benchmarks", "supply", "tests", "docs", "examples")
SOURCES = [
    ROOT / "service.py",
    ROOT / "dockerfile.py",
    *sorted((ROOT / "serving").rglob("*.py")),
    *sorted((ROOT / "optimize").rglob("*.py")),
    *(sorted((ROOT / "loadtest").rglob("*.py"))),
]
WRITTEN = [
    path
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("*/**/*.py"), *ROOT.glob("*/**/*.md"))
    if path.relative_to(ROOT).parts[0] in {*PARTS, path.name}
]
MAX_LINES = 300
STEPS = {f"optimize.steps.{path.stem}" for path in (ROOT / "optimize" / "steps").glob("*.py")}
STEPS -= {f"optimize.steps.{name}" for name in ("__init__", "step", "registry", "union")}
FORBIDDEN = {
    "serving": {"bentoml", "torch", "transformers", "optimize", "service"},
    "optimize": {"service", "loadtest"},
    "loadtest": {"service", "serving", "optimize"},
    "dockerfile": {"serving", "service", "torch", "transformers", "optimize", "loadtest"},
    "service": {"torch", "transformers", "optimize", "loadtest"},
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative path, which these rules do not follow"
            assert node.module is not None
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_keeps_the_rules(path: Path) -> None:
    relative = path.relative_to(ROOT)
    part = relative.parts[0].removesuffix(".py")
    roots = {name.partition(".")[0] for name in imported(path)}
    assert not roots & FORBIDDEN[part], f"{relative} imports {roots & FORBIDDEN[part]}"
    publishes = relative.parts[:2] == ("optimize", "publish")
    if relative.name != "service.py" and not publishes and "baselines" not in relative.parts:
        assert "bentoml" not in roots
    assert not imported(path) & STEPS, "steps are found through their registry"
    if path.name not in ("service.py", "__main__.py") and "baselines" not in relative.parts:
        assert not re.search(r"\b(environb?|getenvb?)\b", path.read_text()), "reads the environment"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_short_and_has_no_imports_for_types_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.If):
                assert "TYPE_CHECKING" not in ast.dump(node.test), "an import for types alone hides a circle"


def test_the_registry_lists_every_step() -> None:
    registered = {path.rpartition(".")[0] for path in REGISTRY.values()}
    assert registered == STEPS
