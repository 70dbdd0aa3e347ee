"""Measured files as Markdown, with their conditions. tests/docs/test_pages.py holds the pages to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.figure_blocks import figure_block
from benchmarks.pages import FIGURES, MEASURED, TO_MEASURE
from loadtest.verdict.peers import ALONE, Measured, peers_result
from tests.benchmarks.test_overload_back_result import back


# The autoscaler is played in virtual time, on no machine.
@pytest.mark.parametrize("name", sorted(FIGURES.keys() - {"autoscaling"} - TO_MEASURE.keys()))
def test_every_kind_of_file_names_the_machine(name: str) -> None:
    path = MEASURED / "figures" / f"{name}.json"
    measured = json.loads(path.read_text(encoding="utf-8"))
    machine = measured["machine"] if "machine" in measured else measured["comparison"]["machine"]
    assert figure_block(path).startswith(machine["processor"])


def test_a_run_is_shown_as_the_terminal_shows_it() -> None:
    block = figure_block(MEASURED / "figures" / "run.json")
    assert block.rstrip().endswith(("PASSED\n```", "FAILED\n```", "INVALID\n```"))
    assert "\x1b" not in block, "no colours"


def test_peers_are_shown_with_their_terms(tmp_path: Path) -> None:
    loops = {str(count): {"per_s": 10.0, "p50_ms": 1.0, "p99_ms": 2.0} for count in (1, 8, 32)}
    rounds = [{"number": 1, "place": 1, "connections": loops, "highest_per_s": 5.0}]
    own = {name: Measured(list(rounds)) for name in (ALONE, "Sieve", "other")}  # type: ignore[arg-type]
    result = peers_result(own, limits_ms={"p99": 50.0}, seconds=4, load_average=0.5)
    (tmp_path / "peers.json").write_text(json.dumps(result), encoding="utf-8")
    block = figure_block(tmp_path / "peers.json")
    assert "; 1 rounds in turn, closed loops of 4 s" in block
    assert "other servers are ended, so one runs at a time; load average before it 0.5.\n\n| times Sieve" in block


def test_an_overload_and_the_way_back_say_where_the_generator_ran(tmp_path: Path) -> None:
    measured = {"machine": {"processor": "A", "cores": 2, "python": "3.11"}, "load_average_before": 0.5}
    measured |= {"cascade": "demo-text", "saturation": {"per_s": 290.4, "found": "searched"}}
    path = tmp_path / "overload-back.json"
    for core, said in ((None, "A, 2 cores that the generator shared; demo"), (1, "A, 2 cores, of which the gen")):
        path.write_text(json.dumps({**back(), **measured, "core": core}), encoding="utf-8")
        block = figure_block(path)
        assert block.startswith(said)
        assert "| overload | 10 |" in block


def test_tune_says_whether_the_defaults_stay(tmp_path: Path) -> None:
    result = json.loads((MEASURED / "figures" / "tune-cascade.json").read_text(encoding="utf-8"))
    for settings, said in ((result["defaults"], "the defaults stay."), ({"workers": 3}, "trials: `workers` 3.")):
        (tmp_path / "tune-cascade.json").write_text(json.dumps({**result, "settings": settings}), encoding="utf-8")
        assert figure_block(tmp_path / "tune-cascade.json").endswith(f"{said}\n")


def test_a_second_day_is_shown_with_its_own_picture(tmp_path: Path) -> None:
    result = json.loads((MEASURED / "figures" / "soak.json").read_text(encoding="utf-8"))
    (tmp_path / "soak-requests.json").write_text(json.dumps(result), encoding="utf-8")
    assert figure_block(tmp_path / "soak-requests.json").endswith("(measured/figures/soak-requests.svg)\n")


def test_a_gpu_is_shown_with_the_source_of_its_peaks(tmp_path: Path) -> None:
    row = {"model": "BERT-base", "way": "ONNX Runtime", "batch": 1, "ms": 1.0, "items_per_s": 1000.0}
    result = {
        "machine": {"processor": "A", "cores": 2, "python": "3.11"},
        "chip": "NVIDIA L4",
        "precision": "fp16",
        "versions": {"torch": "2"},
        "source_of_peaks": "NVIDIA L4 datasheet",
        "alone": [{**row, "fp16_share": 0.5, "bandwidth_share": 0.25}],
        "http": [],
        "goals": [],
    }
    (tmp_path / "gpu.json").write_text(json.dumps(result), encoding="utf-8")
    block = figure_block(tmp_path / "gpu.json")
    assert block.startswith("A, 2 cores")
    assert "; NVIDIA L4 in fp16; torch 2; peaks: NVIDIA L4 datasheet.\n\n| model" in block
    assert "| BERT-base | ONNX Runtime | 1 | 1 | 1,000 | 50.0% | 25.0% |" in block
