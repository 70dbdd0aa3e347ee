"""The rooms of each tree stand in an order: a file imports from its own room and those before it, never in a circle."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.rules.test_imports import ROOT, imported

# Each entry names the folders and root files of one room.
ORDER = {
    "serving": (
        "errors ending settings service_config arguments start timings trace arrays garbage heap memory cpu "
        "expert_url expert_tls protobuf giving_way forked watching control",
        *("model", "load", "expert", "audit", "cascade", "audit_worker", "shadow", "watch", "http", "oip", "__main__"),
    ),
    "optimize": (
        "errors failures progress results versions recipes kept",
        *(
            "data",
            "models",
            "steps",
            "bounds recipe input_settings stage_inputs own_student intake",
            "build",
            "judge",
            "publish",
            "report",
            "pipeline profiling start score runtimes servers traffic",
            "__main__",
        ),
    ),
    "loadtest": (
        "errors machine",
        *("traffic", "verdict", "pages", "measuring", "queueing"),
        "options verbs run overload check tune compare peers mlperf comparing capacity gpu locustfile __main__",
    ),
}
# Other servers around the same model share no code with the load test.
APART = {"loadtest.baselines"}


def modules(tree: str) -> dict[str, Path]:
    """The files of a tree by the name of their module."""
    paths = [path for path in sorted((ROOT / tree).rglob("*.py")) if path.name != "__init__.py"]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}


def folder(module: str) -> str:
    return ".".join(module.split(".")[:2])


def place(module: str) -> int:
    """The place of a module's room; ValueError for a room that ORDER does not name."""
    tree, name = module.split(".")[:2]
    return [name in room.split() for room in ORDER[tree]].index(True)


@pytest.mark.parametrize("module", [module for tree in ORDER for module in modules(tree)])
def test_a_room_imports_only_rooms_before_it(module: str) -> None:
    there = modules(module.split(".")[0])
    for name in imported(there[module]) & set(there):
        if {folder(module), folder(name)} & APART:
            assert folder(module) == folder(name), f"{module} imports {name}"
        else:
            assert place(name) <= place(module), f"{module} imports {name}"


@pytest.mark.parametrize("tree", ORDER)
def test_no_modules_import_each_other(tree: str) -> None:
    """TopologicalSorter raises CycleError with the modules of a circle."""
    there = modules(tree)
    TopologicalSorter({module: imported(path) & set(there) for module, path in there.items()}).prepare()
