"""FastAPI around the same model, without batching: what a team would write first.

MODEL: the ONNX file, TOKENIZER: tokenizer.json, LABELS: separated by commas; run with uvicorn. One request at a time
runs, as one ONNX Runtime thread allows.
"""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

LABELS = os.environ["LABELS"].split(",")

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
names = {value.name for value in session.get_inputs()}
tokenizer = Tokenizer.from_file(os.environ["TOKENIZER"])
tokenizer.no_padding()
app = FastAPI()


class Query(BaseModel):
    """One text."""

    text: str


@app.post("/classify_text")
async def classify_text(query: Query) -> dict[str, object]:
    """The label and the shares of all labels."""
    ids = np.array([tokenizer.encode(query.text).ids])
    arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    (logits,) = session.run(["logits"], {name: arrays[name] for name in names})[0]
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    return {"label": LABELS[int(shares.argmax())], "scores": dict(zip(LABELS, shares.tolist(), strict=True))}
