"""What the cascade is compared with: every baseline, served, gives the answers of its model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from benchmarks.contenders import ladder, plain_bentoml
from benchmarks.published import Published
from loadtest.baselines.model import Model
from loadtest.measuring.contender import Contender
from loadtest.traffic.process import Running, running
from serving.model.artifact import Artifact
from serving.model.preprocess import preprocessor
from serving.model.session import Session
from tests.conftest import TinyCascades, messages
from tests.service.test_api import digit

TEXTS = [text for text, _ in messages(12, seed=21)]


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
def test_every_baseline_answers_as_its_model_does(name: str, tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    published = Published(name, tiny_cascades.home / "models")
    is_text = published.kind == "text"
    contenders = ladder(published, tiny_cascades.builds[name], tmp_path, with_litserve=is_text)
    assert [c.name.split(",")[0] for c in contenders if "Sieve" in c.name] == ["Sieve", "Sieve"]
    assert contenders[-1].name == "Sieve, cascade"
    others = [c for c in contenders if "Sieve" not in c.name]
    assert len(others) == (5 if is_text else 4)
    items = TEXTS if is_text else [digit(number) for number in range(8)]
    expert, screen = published.expert, published.screen
    models = {
        "PyTorch fp32": (expert, "cpu-fp32"),
        "ONNX fp32": (expert, "cpu-fp32"),
        "ONNX INT8": (expert, expert.manifest.default_cpu),
        "the screen alone": (screen, published.point.screen_variant),
    }
    for contender in others:
        with started(contender, tmp_path / "log") as server:
            got = [asked(server.url, item) for item in items]
        (model,) = (model for part, model in models.items() if part in contender.name)
        assert got == labels(*model, items), contender.name


def test_bentomls_defaults_escalate_as_the_operating_point_says(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    published = Published("tiny-text", tiny_cascades.home / "models")
    contender = plain_bentoml(published, tmp_path / "home")
    with started(contender, tmp_path / "log") as server:
        answers = [httpx.post(f"{server.url}/classify_text", json={"text": text}).json() for text in TEXTS]
    screen, point = Model(published.baseline(published.screen, "onnx", screen_file(published))), published.point
    for text, answer in zip(TEXTS, answers, strict=True):
        alone = screen.answer(screen.logits([screen.prepare(text)])[0], point.screen_temperature)
        assert answer["stage"] == ("screen" if alone["confidence"] >= point.threshold else "expert")
        assert answer["label"] in published.expert.manifest.labels


def started(contender: Contender, log: Path) -> AbstractContextManager[Running]:
    folder, variables = contender.folder, contender.variables
    return running(contender.line, ready=contender.ready, log=log, folder=folder, variables=variables)


def asked(url: str, item: str | bytes) -> str:
    if isinstance(item, str):
        reply = httpx.post(f"{url}/classify_text", json={"text": item}, timeout=30)
    else:
        reply = httpx.post(f"{url}/classify_image", content=item, headers={"Content-Type": "image/png"}, timeout=30)
    return str(reply.raise_for_status().json()["label"])


def screen_file(published: Published) -> Path:
    return published.screen.variant_path(published.point.screen_variant)


def labels(artifact: Artifact, variant: str, items: list[str] | list[bytes]) -> list[str]:
    """Of the served session itself, one by one."""
    prepare, session = preprocessor(artifact), Session(artifact, variant)
    names = artifact.manifest.labels
    ready = prepare.encode if artifact.manifest.settings.kind == "text" else prepare.decode
    return [names[int(session.run(prepare.collate([ready(item)]))[0].argmax())] for item in items]
