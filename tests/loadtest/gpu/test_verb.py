"""The whole command on the CPU with tiny models, as somebody tries it out before a GPU is had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.gpu import verb as module
from loadtest.gpu.alone import Row
from loadtest.verbs import EXIT_FAILED, EXIT_PASSED, EXIT_WRONG


def test_the_command_writes_one_file_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["gpu", "--device", "cpu", "--tiny", "--seconds", "0.01", "--batches", "1,4", "--ways", "ONNX Runtime"]
    assert main([*command, "--out", str(tmp_path)]) == EXIT_PASSED
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert (result["device"], result["precision"], result["peaks"], result["goals"]) == ("cpu", "fp32", None, [])
    measured = [(row["model"], row["way"], row["batch"]) for row in result["alone"]]
    assert measured == [(model, "ONNX Runtime", batch) for model in ("tiny BERT", "tiny ResNet") for batch in (1, 4)]
    assert all(row["ms"] > 0 and row["items_per_s"] > 0 for row in result["alone"])
    said = capsys.readouterr().out
    assert said.count("| tiny BERT | ONNX Runtime |") == 2
    assert "gpu.json has the figures" in said


def test_without_a_gpu_the_command_says_how_to_try_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main(["gpu"]) == EXIT_WRONG
    assert "needs an NVIDIA GPU and PyTorch with CUDA" in capsys.readouterr().err


def test_goals_that_are_missed_and_services_are_in_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured is made up; how it is judged and written is not."""
    missed = {"model": "tiny BERT", "batch": 1, "way": "ONNX Runtime", "times": 1.2, "asked": 1.5, "holds": False}
    monkeypatch.setattr(module, "goals", lambda found: [missed])
    served: list[Row] = []

    def http(line: tuple[str, ...], plan: object, **about: object) -> Row:
        served.append({"line": line, **about})
        return {"p99_limit_ms": 100.0, "goodput_per_s": 90.0, "share_of_session_alone": 0.9, "gpu_busy_share": None}

    monkeypatch.setattr("loadtest.gpu.through_http.through_http", http)
    command = ["gpu", "--device", "cpu", "--tiny", "--seconds", "0.01", "--batches", "32", "--ways", "ONNX Runtime"]
    assert main([*command, "--text-service", "serve {port}", "--out", str(tmp_path)]) == EXIT_FAILED
    (asked,) = served
    assert (asked["line"], asked["images"], asked["limit_ms"]) == (("serve", "{port}"), False, 100.0)
    (alone,) = [row for row in json.loads((tmp_path / "gpu.json").read_text())["alone"] if row["model"] == "tiny BERT"]
    assert asked["alone_per_s"] == alone["items_per_s"]
    said = capsys.readouterr().out
    assert "| tiny BERT | 100 | 90 | 90.0% |  |" in said
    assert "1.2 times the items/s of PyTorch compiled, where 1.5 was asked: missed" in said
