"""python -m optimize profile: on the tiny cascades, as a user runs it; its knee on curves with a known one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from optimize.errors import ProfileError
from optimize.profiling.curve import curve_of, knee, knees_of
from optimize.profiling.nsight import commands
from optimize.profiling.operators import TOP, tabulate
from optimize.profiling.report import BUSY, markdown
from optimize.profiling.run import Settings, profile
from optimize.profiling.subject import Cell, Subject, find
from optimize.report import figures
from serving.errors import SieveError
from tests.conftest import ROOT, TinyCascades, optimize

SIZES = (1, 2, 4, 8, 16, 32, 64)


@pytest.fixture(scope="module")
def profiled(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The text expert by its tag with PyTorch, the image screen by its folder: what was said and written."""
    folder = tmp_path_factory.mktemp("profile")
    quick = ("--rounds", 6, "--runs", 3, "--batch-sizes", "1,2,4")
    text = optimize(
        *("profile", "tiny-text-expert:latest", "--variant", "all", "--build", tiny_cascades.builds["tiny-text"]),
        *("--lengths", "8,24", "--out", folder, *quick),
        home=tiny_cascades.home,
    )
    assert text.stderr == ""  # PyTorch Profiler would tell of its starts and stops
    image = optimize(
        *("profile", tiny_cascades.artifact("tiny-image", "screen"), "--out", folder, *quick), home=tiny_cascades.home
    ).stdout
    read = {name: json.loads((folder / name / "profile.json").read_text()) for name in (EXPERT, SCREEN)}
    return {"folder": folder, "said": {EXPERT: text.stdout, SCREEN: image}, **read}


EXPERT, SCREEN = "tiny-text-expert", "tiny-image-screen"


def test_every_shape_has_its_quantiles(profiled: dict[str, Any]) -> None:
    facts = profiled[EXPERT]
    assert set(facts["variants"]) == {"cpu-fp32", "cpu-int8"} or set(facts["variants"]) == {"cpu-fp32"}
    for found in facts["variants"].values():
        shapes = [(row["length"], row["batch_size"]) for row in found["curve"]]
        assert shapes == [(length, size) for length in (8, 24) for size in (1, 2, 4)]
        for row in found["curve"]:
            assert len(row["quantiles_ms"]) == len(facts["quantile_shares"]) == 21
            assert row["quantiles_ms"] == sorted(row["quantiles_ms"])
            assert 0 < row["lower_quartile_ms"] <= row["median_ms"] <= row["upper_quartile_ms"] <= row["p90_ms"]
            assert row["rounds"] == 6
        assert [row["length"] for row in found["knees"]] == [8, 24]
    assert {row["length"] for found in profiled[SCREEN]["variants"].values() for row in found["curve"]} == {0}


def test_operators_come_from_traces_that_are_there(profiled: dict[str, Any]) -> None:
    for name in (EXPERT, SCREEN):
        for found in profiled[name]["variants"].values():
            table = found["operators"]
            events = json.loads((profiled["folder"] / name / table["trace"]).read_text())
            assert tabulate(events, table["runs"])["by_type"] == table["by_type"]
            assert 0 < len(table["by_type"]) <= TOP
            assert 0 <= table["share_not_in_nodes"] < 1
            assert sum(row["share"] for row in table["by_type"]) <= 1.001
    by_node = {row["operator"] for row in profiled[EXPERT]["variants"]["cpu-fp32"]["operators"]["by_node"]}
    assert "MatMul" in by_node or "Gemm" in by_node


def test_the_checkpoints_are_traced_by_pytorch(profiled: dict[str, Any]) -> None:
    (teacher,) = profiled[EXPERT]["checkpoints"].values()
    trace = json.loads((profiled["folder"] / EXPERT / teacher["trace"]).read_text())
    assert sum(event.get("name") == "forward" for event in trace["traceEvents"]) == teacher["runs"]
    linear = next(row for row in teacher["by_type"] if row["name"] == "aten::addmm")
    assert linear["calls"] == 4 * 6 + 2  # four layers of six, the pooler and the head
    assert 0 < sum(row["share"] for row in teacher["by_type"]) < 1
    assert profiled[EXPERT]["build_is_of_this_artifact"] is True
    # Nobody named a build folder for the screen, and there is none where the command ran.
    assert profiled[SCREEN]["checkpoints"] == {}
    assert "no PyTorch profile" in profiled["said"][SCREEN]


def test_stages_are_those_of_a_request(profiled: dict[str, Any]) -> None:
    for name, first in ((EXPERT, "tokenise"), (SCREEN, "decode")):
        for found in profiled[name]["variants"].values():
            assert set(found["stages"]) == {first, "collate", "run", "read"}
            assert all(stage["median_ms"] > 0 for stage in found["stages"].values())


def test_what_is_printed_is_what_is_written(profiled: dict[str, Any]) -> None:
    for name in (EXPERT, SCREEN):
        facts, said = profiled[name], profiled["said"][name]
        for found in facts["variants"].values():
            assert all(row["name"][:20] in said for row in found["operators"]["by_type"])
            assert all(f"{row['p90_ms']:.2f}" in said for row in found["curve"])
        assert "\x1b" not in said
        assert ("the spread may be other work's" in said) == (facts["load_average_before"] > BUSY)
        assert "nsys" not in said or "CUDA" in json.dumps(facts)
        picture = (profiled["folder"] / name / "batch-curve.svg").read_text()
        assert picture == figures.batch_curves(facts)
        assert not list((profiled["folder"] / name).glob("*partial*"))
        assert "| knee |" in markdown(facts)


@pytest.mark.parametrize(("fixed_ms", "item_ms"), [(9.0, 1.0), (3.0, 1.0), (1.0, 0.05)])
def test_the_knee_of_a_batch_with_fixed_costs_is_the_geometric_mean(fixed_ms: float, item_ms: float) -> None:
    def took(size: float) -> float:
        return fixed_ms + item_ms * size

    found, _ = knee(curve_of({Cell(0, size): [took(size)] * 3 for size in SIZES}))
    exact = (math.sqrt(took(SIZES[0]) * took(SIZES[-1])) - fixed_ms) / item_ms
    assert found in (max(size for size in SIZES if size <= exact), min(size for size in SIZES if size >= exact))


def test_a_knee_is_not_made_of_noise() -> None:
    flat = {Cell(0, size): [size * 0.9, size * 1.0, size * 1.1] for size in SIZES}
    flat[Cell(0, 8)] = [7.5, 7.9, 8.6]
    assert knee(curve_of(flat)) == (1, "no larger batch surely gives more throughput")
    free = {Cell(0, size): [5.0, 5.0, 5.0] for size in SIZES}
    assert knee(curve_of(free)) == (64, "throughput rises in proportion up to its peak there")
    (few,) = knees_of(curve_of({Cell(8, 1): [1.0], Cell(8, 2): [1.5]}))
    assert few == {"length": 8, "batch_size": None, "reason": "a knee takes at least 3 batch sizes, got 2"}


def test_what_comes_before_the_counted_runs_is_not_counted() -> None:
    def node(name: str, kind: str, ts: int, dur: int) -> dict[str, Any]:
        arguments = {"op_name": kind, "provider": "CPUExecutionProvider"}
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": arguments}

    events: list[dict[str, Any]] = [{"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 9}]
    for start, scale in ((100, 9), (1000, 1), (2000, 1)):
        events += [node("a", "MatMul", start, 300 * scale), node("b", "MatMul", start, 100 * scale)]
        events += [node("c", "Softmax", start, 200 * scale)]
        events += [{"cat": "Session", "name": "model_run", "ts": start, "dur": 800 * scale}]
    table = tabulate(events, runs=2)
    shown = [(row["name"], row["calls"], row["ms"], row["share"]) for row in table["by_type"]]
    assert shown == [("MatMul", 2, 0.4, 0.5), ("Softmax", 1, 0.2, 0.25)]
    assert [row["name"] for row in table["by_node"]] == ["a", "c", "b"]
    assert (table["run_ms"], table["share_not_in_nodes"]) == (0.8, 0.25)


def test_items_have_the_length_they_should(tiny_cascades: TinyCascades) -> None:
    subject = find(str(tiny_cascades.artifact("tiny-text", "expert")))
    assert isinstance(subject, Subject)
    assert [len(item) for item in subject.items(Cell(24, 3))] == [24, 24, 24]
    # Words of the vocabulary, so that serving's own tokeniser comes out close to what was asked.
    assert all(20 <= len(item) <= 28 for item in subject.prepare(subject.requests(Cell(24, 5))))


def test_the_stages_alone_run_no_profiler(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    model = tiny_cascades.artifact("tiny-text", "screen")
    said = optimize("profile", model, "--stages-only", "--rounds", 3, "--out", tmp_path).stdout
    assert [line.split()[2] for line in said.splitlines()] == ["tokenise", "collate", "run", "read"]
    assert not list(tmp_path.iterdir())


def test_nsight_is_told_to_wait_and_to_look_at_the_run() -> None:
    settings = Settings(threads=2, trace_batch_size=8, trace_length=64)
    lines = commands("sms-risk-expert:latest", "gpu-fp16", settings, Path("build/profile/sms-risk-expert"))
    program = (
        "python -m optimize profile sms-risk-expert:latest --variant gpu-fp16 --stages-only --threads 2 "
        "--trace-batch-size 8 --trace-length 64"
    )
    assert lines["Nsight Systems"].startswith("nsys profile --trace=cuda,nvtx,osrt --capture-range=cudaProfilerApi ")
    assert lines["Nsight Compute"].startswith("ncu --profile-from-start=off --nvtx --nvtx-include=run/ ")
    assert all(line.endswith(program) for line in lines.values())


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"variants": ("gpu-fp16",)}, "tiny-text-screen has no variant 'gpu-fp16'; it has "),
        ({"lengths": (8, 99)}, "tiny-text-screen takes lengths of 3 to 48 tokens, got 99; choose others"),
        ({"trace_length": 2}, "tiny-text-screen takes lengths of 3 to 48 tokens, got 2; choose others"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"batch_sizes": (4, 0)}, "batch sizes must be at least 1, got 0"),
        ({"build": Path("nowhere")}, "--build nowhere: neither a folder nor a recipe's name below build/; "),
        (
            {"build": Path("tests")},
            "tests has no checkpoint of teacher/fine-tune, which tiny-text-screen was made with",
        ),
    ],
)
def test_what_cannot_be_profiled_is_told_before_anything_is_measured(
    tiny_cascades: TinyCascades, tmp_path: Path, asked: dict[str, Any], says: str
) -> None:
    subject = find(str(tiny_cascades.artifact("tiny-text", "screen")))
    with pytest.raises(SieveError) as raised:
        profile([subject], Settings(**asked, out=tmp_path / "out"), "")
    assert str(raised.value).startswith(says)
    assert not (tmp_path / "out").exists()


def test_one_model_twice_is_refused(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    subject = find(str(tiny_cascades.artifact("tiny-text", "screen")))
    with pytest.raises(ProfileError, match="tiny-text-screen was named 2 times"):
        profile([subject, subject], Settings(out=tmp_path), "")


def test_a_model_that_is_nowhere_is_one_line(tiny_cascades: TinyCascades) -> None:
    done = optimize("profile", "nothing-here", home=tiny_cascades.home, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing-here is neither an artifact folder nor in the model store, which has")
    assert "tiny-image-expert, " in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_lines_that_the_documentation_shows_are_those_that_are_printed() -> None:
    shown = (ROOT / "docs" / "profiling.md").read_text(encoding="utf-8")
    lines = commands("sms-risk-expert", "gpu-fp16", Settings(), Path("build/profile/sms-risk-expert"))
    assert "\n".join(lines.values()) in shown
