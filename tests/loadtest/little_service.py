"""A small service whose capacity follows its settings file, so that a search for settings has something to find.

    python little_service.py PORT SETTINGS

One request at a time runs in each of `workers`, for 20 ms; a text with "hard" in it is answered by the expert.
"""

from __future__ import annotations

import asyncio
import sys
import time
import tomllib
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

TAKES_S = 0.02


def app(workers: int) -> Starlette:
    turns = asyncio.Semaphore(workers)

    async def classify(request: Request) -> JSONResponse:
        text = (await request.json())["text"]
        begin = time.perf_counter()
        async with turns:
            waited = time.perf_counter()
            await asyncio.sleep(TAKES_S)
        parts = {"queue": waited - begin, "screen": time.perf_counter() - waited, "total": time.perf_counter() - begin}
        timing = ", ".join(f"{name};dur={1e3 * seconds:.3f}" for name, seconds in parts.items())
        timing += f", workers;dur={workers}"  # from which tests on a busy machine compute its capacity
        stage = "expert" if "hard" in text else "screen"
        return JSONResponse({"label": "x", "stage": stage, "degraded": None}, headers={"Server-Timing": timing})

    async def ready(_request: Request) -> JSONResponse:
        return JSONResponse({})

    return Starlette(routes=[Route("/classify_text", classify, methods=["POST"]), Route("/readyz", ready)])


if __name__ == "__main__":
    settings = tomllib.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {"workers": 1}
    uvicorn.run(app(int(settings["workers"])), port=int(sys.argv[1]), log_level="warning")
