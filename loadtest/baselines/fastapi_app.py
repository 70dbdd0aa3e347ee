"""FastAPI around one model, without batching: what a team would write first. Run it with uvicorn.

The variable BASELINE holds the model as JSON (see `model.Baseline`). The endpoints block the event loop, so one request
runs at a time, on the model's one thread.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from loadtest.baselines.model import Model

model = Model(json.loads(os.environ["BASELINE"]))
app = FastAPI()


class Query(BaseModel):
    """One text; other fields of the request are ignored."""

    text: str


def answered(content: str | bytes, response: Response) -> dict[str, Any]:
    """The answer; its times go into the header Server-Timing."""
    begin = time.perf_counter()
    item = model.prepare(content)
    prepared = time.perf_counter()
    answer = model.answer(model.logits([item])[0])
    parts = {"decode": prepared - begin, "model": time.perf_counter() - prepared, "total": time.perf_counter() - begin}
    response.headers["Server-Timing"] = ", ".join(f"{name};dur={1e3 * s:.3f}" for name, s in parts.items())
    return dict(answer)


@app.post("/classify_text")
async def classify_text(query: Query, response: Response) -> dict[str, Any]:
    return answered(query.text, response)


@app.post("/classify_image")
async def classify_image(request: Request, response: Response) -> dict[str, Any]:
    return answered(await request.body(), response)
