"""Two artifacts in one expert's process: each call gets the one that it names."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import REGISTRY

from serving.expert.wire import pack, unpack
from serving.http import expert_models as module
from serving.http.expert_app import METHODS
from serving.http.expert_models import ExpertModels, OpenedExpert, open_expert
from serving.model.artifact import Artifact
from serving.model.golden import GoldenCheck
from serving.model.preprocess import example_items
from serving.settings import Settings
from serving.watch.expert_metrics import ExpertMetrics
from tests.conftest import TinyCascades
from tests.serving.asgi import get, post, routed
from tests.serving.conftest import sample

ITEM = np.array([1, 2])
INFO = {"variant": "cpu-int8", "provider": "CPUExecutionProvider", "device": "cpu"}
SESSION: Any = SimpleNamespace(
    provider_asked="CPUExecutionProvider",
    provider_got="CPUExecutionProvider",
    runtime="onnxruntime",
    variant="cpu-int8",
    device="cpu",
    lanes=1,
    gpu_missing=None,
)


def expert(digit: str, against: str = "") -> OpenedExpert:
    """An expert whose logits are this digit."""
    digest = digit * 64
    return OpenedExpert(
        tag=f"a-expert:v{digit}",
        digest=digest,
        kind="text",
        session=SESSION,
        golden=GoldenCheck(against=against),
        run=lambda items: np.full((len(items), 2), float(digit), dtype=np.float32),
        check=lambda _items: None,
        info={"model": f"a-expert:v{digit}", "digest": digest, **INFO},
    )


@pytest.fixture
def models(clean_registry: None) -> ExpertModels:
    first = expert("1")
    return ExpertModels(first, ExpertMetrics("text", None, True, **first.info))


def asked(models: ExpertModels, digit: str = "") -> tuple[httpx.Response, float]:
    """The reply to a call for the artifact of this digit, or for any, and its first logit."""
    headers = {"If-Match": f'"{digit * 64}"'} if digit else {}
    reply = post(routed(METHODS, models.endpoints), "/infer", content=pack([ITEM]), headers=headers)
    return reply, float(unpack(reply.content)[0][0, 0]) if reply.status_code == 200 else -1.0


def test_each_call_gets_the_artifact_that_it_names_and_one_without_a_name_the_newest(models: ExpertModels) -> None:
    assert asked(models, "2")[0].status_code == 412
    models.serve(expert("2"))
    for digit, logit in (("1", 1.0), ("2", 2.0), ("", 2.0)):
        reply, got = asked(models, digit)
        assert (reply.headers["etag"], got) == (f'"{(digit or "2") * 64}"', logit)
    assert models.run([ITEM])[0, 0] == 2.0
    said = get(routed(METHODS, models.endpoints), "/model", headers={"If-Match": f'"{"1" * 64}"'})
    assert said.json()["against"] == ""


def test_the_one_before_goes_when_nobody_has_asked_for_it_for_a_while(
    models: ExpertModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.serve(expert("2"))
    get(routed(METHODS, models.endpoints), "/model")
    assert asked(models, "1")[1] == 1.0, "it was asked for just now"
    infos = [{"modality": "text", "role": "expert", "model": f"a-expert:v{n}", "digest": n * 64, **INFO} for n in "12"]
    assert [sample("sieve_model_info", **info) for info in infos] == [1, 1]
    monkeypatch.setattr(module, "UNUSED_S", -1.0)
    get(routed(METHODS, models.endpoints), "/model")
    assert asked(models, "1")[0].status_code == 412
    assert asked(models)[1] == 2.0, "the one that is served stays"
    assert [sample("sieve_model_info", **info) for info in infos] == [0, 1]


def test_one_that_is_still_there_is_served_again_without_being_opened(models: ExpertModels) -> None:
    models.serve(expert("2"))
    assert models.again("1" * 64)
    assert asked(models)[1] == 1.0
    assert not models.again("3" * 64)


def test_an_artifact_is_opened_warm_and_checked(tiny_cascades: TinyCascades) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "expert"))
    opened = open_expert(artifact, "tiny-text-expert:v1", Settings())
    assert (opened.kind, opened.digest, opened.golden.against) == ("text", artifact.digest, "")
    assert opened.info["model"] == "tiny-text-expert:v1"
    assert opened.run(example_items(artifact.manifest.settings)[:1]).shape == (1, 6)


def test_an_expert_that_misses_its_gpu_is_told_of_and_one_that_has_none_is_not(clean_registry: None) -> None:
    first = expert("1")
    models = ExpertModels(first, ExpertMetrics("text", None, True, **first.info))
    assert REGISTRY.get_sample_value("sieve_gpu_missing", {"modality": "text"}) is None
    for missing in (True, False):
        session: Any = SimpleNamespace(**{**vars(SESSION), "gpu_missing": missing})
        models.serve(replace(expert("2"), session=session))
        assert sample("sieve_gpu_missing", modality="text") == missing


def test_the_sizes_of_batches_are_counted_up_to_the_largest_one(clean_registry: None) -> None:
    ExpertMetrics("text", None, True, most=128, **expert("1").info).ran(100, 8, 0.01)
    assert sample("sieve_expert_batch_size_bucket", modality="text", le="64.0") == 0
    assert sample("sieve_expert_batch_size_bucket", modality="text", le="128.0") == 1
