"""python -m optimize runtimes, on artifacts made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimize.errors import RuntimesError
from optimize.runtimes import compare as module
from optimize.runtimes.compare import Settings, compare, named
from optimize.runtimes.measure import Pace
from optimize.runtimes.onnx_runtime import OnnxRuntime
from serving.errors import ArtifactError
from tests.commands import optimize
from tests.made import make_artifact
from tests.optimize.runtimes.fakes import Fake


def test_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "candidates", lambda: [OnnxRuntime(), Fake("missing")])
    folder = make_artifact(tmp_path / "build" / "made-expert", ["cpu-fp32", "cpu-fp32-openvino"], role="expert").folder
    settings = Settings(variants=("all",), batch_sizes=(1, 4), pace=Pace(rounds=3), out=tmp_path / "out")
    (facts,) = compare(str(folder), settings, "the command")
    written = json.loads((tmp_path / "out" / "made-expert" / "cpu-fp32" / "runtimes.json").read_text())
    assert written == json.loads(json.dumps(facts))
    assert (facts["variant"], facts["items_held"], facts["command"]) == ("cpu-fp32", "golden", "the command")
    ran, missing = facts["runtimes"]
    assert set(ran["batches"]) == {"1", "4"}
    assert "missing" in missing
    assert (tmp_path / "out" / "made-expert" / "cpu-fp32" / "runtimes.svg").read_text().startswith("<svg")


def test_a_build_folder_names_both_stages(tmp_path: Path) -> None:
    for role in ("expert", "screen"):
        make_artifact(tmp_path / f"made-{role}", ["cpu-fp32"], role=role, golden=False)
    assert [published.name for published in named(str(tmp_path))] == ["made-screen", "made-expert"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"neither an artifact nor a build folder: it has no manifest.json; make"):
        named(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("asked", "says"),
    [({"batch_sizes": (0, 8)}, "batch sizes must be at least 1, got 0"), ({"pace": Pace(rounds=0)}, "rounds must be")],
)
def test_numbers_below_one_are_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(RuntimesError, match=says):
        Settings(**asked)


def test_the_command_runs_every_runtime_that_is_there(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "made-screen", ["cpu-fp32"])
    done = optimize("runtimes", artifact.folder, "--rounds", "3", "--batch-sizes", "1,8", "--out", tmp_path / "out")
    assert "ONNX Runtime" in done.stdout
    assert (
        "TorchScript, fp32: cannot be made from an ONNX file alone, and build/None holds no checkpoint" in done.stdout
    )
    facts = json.loads((tmp_path / "out" / "made-screen" / "cpu-fp32" / "runtimes.json").read_text())
    for row in facts["runtimes"]:
        assert "failed" not in row
        assert row.get("missing") or row["parity"]["holds"]


def test_a_name_that_is_nowhere_is_one_line(tmp_path: Path) -> None:
    done = optimize("runtimes", "nothing-here", home=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing-here is neither an artifact folder nor in the model store")
    assert done.stderr.count("\n") == 1
