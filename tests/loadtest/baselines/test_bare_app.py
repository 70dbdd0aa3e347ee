"""The bare application, under uvicorn as it is measured."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from benchmarks.servers import bare

ANSWER = {"label": "spam", "scores": {"ham": 0.25, "spam": 0.75}, "degraded": None}


def test_it_reads_json_and_writes_the_same_answer_each_time(tmp_path: Path) -> None:
    with bare(tmp_path, json.dumps(ANSWER)) as server, httpx.Client(base_url=server.url) as client:
        for text in ("short", "long " * 50_000):
            reply = client.post("/classify_text", json={"text": text})
            assert reply.json() == ANSWER
            assert reply.headers["content-type"] == "application/json"
        assert client.post("/classify_text", content=b"{nothing").status_code == 500, "the JSON is read"
        assert client.post("/classify_text", json={"text": 3}).status_code == 500
