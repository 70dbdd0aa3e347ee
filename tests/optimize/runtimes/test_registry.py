from __future__ import annotations

import pickle

import onnxruntime
import pytest

from optimize.runtimes.registry import candidates


def test_onnxruntime_comes_first_and_every_runtime_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ["TensorrtExecutionProvider", "DnnlExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    names = [candidate.name for candidate in candidates()]
    assert names[:2] == ["ONNX Runtime", "ONNX Runtime, Dnnl"], "Azure's would send the inputs away"
    assert names[2:] == ["OpenVINO", "TorchScript, fp32", "Apache TVM, not tuned", "TensorRT"]


def test_a_candidate_can_be_sent_to_its_process() -> None:
    assert pickle.loads(pickle.dumps(candidates())) == candidates()
