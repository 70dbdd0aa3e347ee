"""An operating point on traffic without labels, by the command line, up to the model store."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from serving.cascade.deferral import OperatingPoint
from tests.conftest import TinyCascades, messages, optimize


@pytest.fixture
def build(tiny_cascades: TinyCascades, tmp_path: Path) -> Path:
    """A build of the tiny texts that may be changed."""
    return shutil.copytree(tiny_cascades.builds["tiny-text"], tmp_path / "build")


def written(path: Path, rows: int, seed: int = 77) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["message"], *([text] for text, _ in messages(rows, seed=seed))])
    return path


def test_traffic_certifies_what_is_then_published(tiny_cascades: TinyCascades, build: Path, tmp_path: Path) -> None:
    recipe, home = tiny_cascades.recipes["tiny-text"], shutil.copytree(tiny_cascades.home, tmp_path / "home")
    folder = build / "tiny-text-operating-point"
    before = OperatingPoint.read(folder)
    where = ("--root", tiny_cascades.folder, "--build", build)
    traffic = written(tmp_path / "logs.csv", 700)
    done = optimize(
        "operating-point", recipe, *where, "--traffic", traffic, "--text-column", "message", "--alpha", "0.05"
    )
    point = OperatingPoint.read(folder)
    assert point.certified_on == "traffic"
    assert (point.screen_digest, point.expert_digest) == (before.screen_digest, before.expert_digest)
    assert (point.screen_temperature, point.expert_temperature) == (
        before.screen_temperature,
        before.expert_temperature,
    )
    evidence = json.loads((folder / "evidence" / "traffic.json").read_text())
    rows = evidence["rows"]
    assert rows["usable"] == rows["selection"] + rows["certification"] == 700 - rows["unusable"]
    assert (point.promise.n, point.reference.n) == (rows["certification"], rows["selection"])
    assert rows["selection"] == 140
    assert point.promise.alpha == 0.05
    assert "traffic: 560 rows certify, by their misses, a share of at least 0.534% with 0" in done.stdout
    assert "confidences: index" in done.stdout
    assert point.promise.statement[:40] in " ".join(done.stdout.split())
    # Nothing of the content is said or kept.
    said = done.stdout + json.dumps(evidence)
    assert not any(text in said for text, _ in messages(700, seed=77))

    optimize("verify", recipe, *where)
    assert (folder / "evidence" / "traffic.json").is_file()
    published = optimize("publish", recipe, *where, home=home).stdout
    new = {
        name: [path.parent for path in (home / "models").glob(f"tiny-text-{name}/*/model.yaml")]
        for name in ("screen", "expert", "operating-point")
    }
    assert [len(new[name]) for name in new] == [1, 1, 2], "the artifacts stay as they were"
    assert any(OperatingPoint.read(path) == point for path in new["operating-point"])
    assert "tiny-text-operating-point:" in published


def test_too_little_traffic_says_how_many_rows_it_takes(
    tiny_cascades: TinyCascades, build: Path, tmp_path: Path
) -> None:
    recipe, where = tiny_cascades.recipes["tiny-text"], ("--root", tiny_cascades.folder, "--build", build)
    few = written(tmp_path / "few.csv", 15)
    options = ("--traffic", few, "--text-column", "message")
    done = optimize("operating-point", recipe, *where, *options, check=False)
    assert done.returncode == 1
    assert "rows that can be used, at least 20 are needed" in done.stderr
    some = written(tmp_path / "some.csv", 100)
    done = optimize("operating-point", recipe, *where, "--traffic", some, "--text-column", "message", "--alpha", "0.01")
    assert "takes 299 rows, or a larger --alpha" in done.stdout
    assert not OperatingPoint.read(build / "tiny-text-operating-point").promise.certified


def test_a_column_that_is_not_there_is_asked_for(tiny_cascades: TinyCascades, build: Path, tmp_path: Path) -> None:
    recipe, where = tiny_cascades.recipes["tiny-text"], ("--root", tiny_cascades.folder, "--build", build)
    done = optimize("operating-point", recipe, *where, "--traffic", written(tmp_path / "logs.csv", 30), check=False)
    assert done.returncode == 1
    assert "has no column 'text'" in done.stderr
