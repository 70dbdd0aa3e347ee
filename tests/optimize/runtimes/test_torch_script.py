from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from optimize.models.saved import save_model
from optimize.runtimes.candidate import Subject
from optimize.runtimes.torch_script import TorchScript

SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 16}


@torch.inference_mode()
def test_a_trace_computes_what_the_checkpoint_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=50, hidden_size=16, num_labels=3, **SHAPE)).eval()
    subject = Subject(graph=tmp_path / "model.onnx", task="text", checkpoint=save_model(model, tmp_path / "checkpoint"))
    ids = np.random.default_rng(0).integers(0, 50, (4, 8))
    batches = [{"input_ids": ids[:size], "attention_mask": np.ones_like(ids[:size])} for size in (1, 4)]
    candidate = TorchScript().prepared(subject, batches, tmp_path)
    assert candidate.version() == str(torch.__version__)
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["1x8.pt", "4x8.pt"]
    run = candidate.load(subject, 1)
    for batch in batches:
        wanted = model(**{name: torch.from_numpy(array) for name, array in batch.items()}).logits.numpy()
        np.testing.assert_allclose(run(batch), wanted, atol=1e-5)


def test_an_onnx_file_alone_is_not_enough() -> None:
    subject = Subject(graph=Path("model.onnx"), task="text", no_checkpoint="build/x holds no checkpoint")
    said = TorchScript().missing(subject)
    assert said == "cannot be made from an ONNX file alone, and build/x holds no checkpoint"
