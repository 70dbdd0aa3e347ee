"""Experts on other servers, as the tests ask them, and what our own sessions compute for the same items."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from serving.errors import StageDownError
from serving.expert.open_client import open_client
from serving.expert.other_server import OtherServer
from serving.expert_tls import SYSTEM
from serving.model.artifact import Artifact, VariantName
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.made import pixels
from tests.optimize.score.tiny_models import WORDS, tiny_cascade
from tests.serving.expert.protocol_server import OtherModel, served

VARIANT: VariantName = "cpu-fp32"


def expert_for_texts(folder: Path, **changed: Any) -> Artifact:
    """An expert that reads long texts in windows."""
    return tiny_cascade(folder, settings={"long_texts": "windows"}, **changed).expert.artifact


def client(url: str, artifact: Artifact, **keys: Any) -> OtherServer:
    found = open_client(url, "an-expert", artifact, VARIANT, SYSTEM, **keys)
    assert isinstance(found, OtherServer)
    return found


def items_of(artifact: Artifact) -> list[Any]:
    if artifact.manifest.settings.kind == "image":
        return list(pixels(5))
    prepare = preprocessor(artifact)
    texts = ["superb", "plain fine poor", "usual " * 8, " ".join(WORDS * 6), "awful"]
    return [prepare.item(text)[0] for text in texts * 6]  # more rows than one batch has


def ours(artifact: Artifact, items: list[Any]) -> Any:
    return Runner(Session(artifact), preprocessor(artifact)).run(items)


def play(model: OtherModel, scheme: str, scenario: Callable[[OtherServer], Awaitable[Any]], at: str = "") -> Any:
    """What `scenario` returns with a client of the model, whose URL ends with `at`."""

    async def main() -> Any:
        async with served(model, scheme) as url:
            expert = client(url + at, model.artifact)
            try:
                return await scenario(expert)
            finally:
                await expert.close()

    return asyncio.run(main())


async def answers(expert: OtherServer, items: list[Any]) -> None:
    """Until the expert answers: a gRPC channel looks for its server again by itself, twice a second."""
    async with asyncio.timeout(20):
        while True:
            try:
                await expert(items, None, math.inf)
                return
            except StageDownError:
                await asyncio.sleep(0.05)


async def until(expert: OtherServer, is_so: Callable[[dict[str, str]], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so(await expert.describe()):
            await asyncio.sleep(0.05)
