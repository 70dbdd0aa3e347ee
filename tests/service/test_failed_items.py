"""A token that the models lack: only its own text fails, in a list and in the batches of the expert."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from serving.model.artifact import MANIFEST, OPERATING_POINT, Artifact, sha256_of, write_json
from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, in_full, serve
from tests.service.test_degraded import TEXT_ONLY, with_point

BAD, GOOD = "where is my zzzword", "where is my refund"


def with_token(cascades: TinyCascades, home: Path, *roles: str) -> Path:
    """A copy of the store whose tokenisers of `roles` know a word that their models do not; everything escalates."""
    with_point(cascades, home, threshold=1.1)
    digests = {}
    for role in ("screen", "expert"):
        (manifest,) = (home / "models" / f"tiny-text-{role}").glob(f"*/{MANIFEST}")
        if role in roles:
            add_token(manifest)
        digests[f"{role}_digest"] = Artifact.open(manifest.parent).digest
    (point,) = (home / "models" / "tiny-text-operating-point").glob(f"*/{OPERATING_POINT}")
    write_json(point, {**json.loads(point.read_text()), **digests})
    return home


def add_token(manifest: Path) -> None:
    path = manifest.with_name("tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(["zzzword"])
    tokenizer.save(str(path))
    said = json.loads(manifest.read_text())
    write_json(manifest, {**said, "files": {**said["files"], "tokenizer.json": sha256_of(path)}})


@pytest.mark.parametrize("roles", [("screen",), ("expert",), ("screen", "expert")], ids="+".join)
def test_only_its_own_text_fails(tiny_cascades: TinyCascades, tmp_path: Path, roles: tuple[str, ...]) -> None:
    home = with_token(tiny_cascades, tmp_path / "home", *roles)
    with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as server, server.client() as client:
        plain = in_full(client, "/classify_text", json={"text": GOOD, "budget_ms": PATIENT_MS}).json()
        body = client.post("/classify_texts", json={"texts": [GOOD, BAD, GOOD], "budget_ms": PATIENT_MS}).json()
        first, bad, last = body["answers"]
        assert first["scores"] == last["scores"] == plain["scores"]
        if roles == ("screen",):
            assert (bad["stage"], bad["degraded"]) == ("expert", None)
        elif roles == ("expert",):
            assert (bad["stage"], bad["degraded"]) == ("screen", "down")
        else:
            assert bad["error"]["field"] == "texts[1]"
            assert client.post("/classify_text", json={"text": BAD}).status_code == 500

        async def many() -> list[httpx.Response]:
            async with server.async_client(32) as crowd:
                sent = ({"text": text, "budget_ms": PATIENT_MS} for text in [GOOD, GOOD, BAD, GOOD] * 8)
                return await asyncio.gather(*(crowd.post("/classify_text", json=each) for each in sent))

        def sound(reply: httpx.Response) -> dict[str, Any]:
            assert reply.status_code in (200, 503)
            return reply.json()

        replies = asyncio.run(many())
        degraded = {sound(reply).get("degraded") for place, reply in enumerate(replies) if place % 4 != 2}
        assert "down" not in degraded, "a bad text in the batch is no failure of the others"
        assert client.get("/models").json()["text"]["breaker"] == "closed"
