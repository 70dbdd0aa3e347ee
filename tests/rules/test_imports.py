"""Who may import whom, and how large a file may get: the architecture, held by one test."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from optimize.steps.registry import STEPS as REGISTRY

ROOT = Path(__file__).parents[2]
PARTS = ("serving", "optimize", "loadtest", "benchmarks", "tests", "docs", "examples")
SOURCES = [
    ROOT / "service.py",
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
# Where a file of serving may import from: its own room and those before it.
ROOMS = ("bottom", "model", "load", "expert", "cascade", "watch", "http")
BOTTOM = {"errors", "settings", "arguments", "timings", "trace", "arrays", "garbage"}
# The same for the load test, whose verbs stand above its rooms; the baselines share no code with it.
LOADTEST_ROOMS = ("bottom", "traffic", "verdict", "pages", "measuring", "queueing", "verbs")
STEPS = {f"optimize.steps.{path.stem}" for path in (ROOT / "optimize" / "steps").glob("*.py")}
STEPS -= {f"optimize.steps.{name}" for name in ("__init__", "step", "registry", "union")}
FORBIDDEN = {
    "serving": {"bentoml", "torch", "transformers", "optimize", "service"},
    "optimize": {"service", "loadtest"},
    "loadtest": {"service", "serving", "optimize"},
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


def room(module: str) -> str:
    """The room of a module of serving; the name of a file that is in none."""
    name = module.split(".")[1]
    return "bottom" if name in BOTTOM else name


SERVING = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "serving").rglob("*.py"))
    if path.name != "__init__.py"
}


@pytest.mark.parametrize("module", SERVING)
def test_a_room_of_serving_imports_only_rooms_before_it(module: str) -> None:
    place = ROOMS.index(room(module))
    for name in imported(SERVING[module]) & set(SERVING):
        assert ROOMS.index(room(name)) <= place, f"{module} imports {name}"


def test_no_modules_of_serving_import_each_other() -> None:
    """TopologicalSorter raises CycleError with the modules of a circle."""
    TopologicalSorter({module: imported(path) & set(SERVING) for module, path in SERVING.items()}).prepare()


LOADTEST = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "loadtest").rglob("*.py"))
    if path.name != "__init__.py"
}


def loadtest_room(module: str) -> str:
    """The room of a module of loadtest; the verbs have none, and the bottom is below all of them."""
    name = module.split(".")[1]
    if name in ("errors", "machine"):
        return "bottom"
    return "verbs" if module.count(".") == 1 else name


@pytest.mark.parametrize("module", LOADTEST)
def test_a_room_of_loadtest_imports_only_rooms_before_it(module: str) -> None:
    others = imported(LOADTEST[module]) & set(LOADTEST)
    if loadtest_room(module) == "baselines":
        assert {loadtest_room(name) for name in others} <= {"baselines"}
        return
    place = LOADTEST_ROOMS.index(loadtest_room(module))
    for name in others:
        assert LOADTEST_ROOMS.index(loadtest_room(name)) <= place, f"{module} imports {name}"


def test_no_modules_of_loadtest_import_each_other() -> None:
    TopologicalSorter({module: imported(path) & set(LOADTEST) for module, path in LOADTEST.items()}).prepare()


def test_the_registry_lists_every_step() -> None:
    registered = {path.rpartition(".")[0] for path in REGISTRY.values()}
    assert registered == STEPS
