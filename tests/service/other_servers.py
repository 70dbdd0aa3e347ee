"""Experts on other servers, for the tests of the service: a store of tiny cascades, a server in a thread, an outage."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bentoml
import httpx
import numpy as np
from bentoml._internal.models.model import ModelStore

from optimize.publish.cascades import ROLES
from serving.cascade.modality import StoredCascade
from serving.model.answer import softmax
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.machines.load import Load
from tests.server import PATIENT_MS, in_full
from tests.serving.expert.protocol_server import OtherModel, served

UNSURE = ["plain", "fine", "awful plain", "nothing that is known"]
"""Texts of which the screen of a tiny cascade is unsure."""


def put_into_store(home: Path, name: str, folder: Path) -> None:
    """Add the cascade in a folder of `tiny_cascade` to the model store of a BentoML home."""
    models = home / "models"
    models.mkdir(parents=True, exist_ok=True)
    for role in ROLES:
        with bentoml.models.create(f"{name}-{role}", _model_store=ModelStore(models)) as model:
            shutil.copytree(folder / role, model.path, dirs_exist_ok=True)


@contextmanager
def elsewhere(model: OtherModel, scheme: str, port: int) -> Iterator[None]:
    """Serve `model` in a thread with an event loop of its own, until the block ends."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ending = asyncio.Event()

    async def serve() -> None:
        async with served(model, scheme, port):
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(30)
        loop.close()


def require_same_answers(client: httpx.Client, cascade: StoredCascade) -> None:
    """The expert answers, and its scores are those that our own runs compute."""
    artifact = cascade.expert.artifact
    prepare = preprocessor(artifact)
    logits = Runner(Session(artifact), prepare).run([prepare.item(text)[0] for text in UNSURE])
    for text, expected in zip(UNSURE, softmax(logits), strict=True):
        said = in_full(client, "/classify_text", json={"text": text, "budget_ms": PATIENT_MS}).json()
        assert (said["stage"], said["escalated"], said["degraded"]) == ("expert", True, None)
        scores = [said["scores"][label] for label in artifact.manifest.labels]
        assert np.abs(np.array(scores) - expected).max() < 1e-4


def cut_off_and_back(url: str, stop: Callable[[], Any], start: Callable[[], Any]) -> Load:
    """Stop an expert while requests flow and start it again: its answers are degraded meanwhile, and none is lost."""
    load = Load(url)

    async def scenario() -> None:
        async with load.running(text_clients=4, budget_ms=PATIENT_MS):
            await load.until("text", None, 40)
            load.phase()
            await asyncio.to_thread(stop)
            await load.until("text", "down", 40)
            load.phase()
            await asyncio.to_thread(start)
            await load.until("text", None, 40)

    asyncio.run(scenario())
    # A machine that is busy with the start of a server may have the API shed, which is no loss.
    answers = {what for what in load.all if what[1] != 503}
    degraded = {("text", 200, "screen", why) for why in ("down", "deadline", "shed")}
    assert answers <= {("text", 200, "expert", None), *degraded}, dict(load.all)
    return load
