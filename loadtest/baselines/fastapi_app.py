"""FastAPI around one model, without batching: what a team would write first. Run it with uvicorn; see `model`.

One request at a time runs, as one thread of the model allows.
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
    """One text; whatever else comes along is left alone."""

    text: str


def answered(content: Any, response: Response) -> dict[str, Any]:
    """The answer, and in a header the time that it took."""
    begin = time.perf_counter()
    item = model.prepare(content)
    prepared = time.perf_counter()
    answer = model.answer(model.logits([item])[0])
    parts = {"decode": prepared - begin, "model": time.perf_counter() - prepared, "total": time.perf_counter() - begin}
    response.headers["Server-Timing"] = ", ".join(f"{name};dur={1e3 * s:.3f}" for name, s in parts.items())
    return answer


@app.post("/classify_text")
async def classify_text(query: Query, response: Response) -> dict[str, Any]:
    return answered(query.text, response)


@app.post("/classify_image")
async def classify_image(request: Request, response: Response) -> dict[str, Any]:
    return answered(await request.body(), response)
