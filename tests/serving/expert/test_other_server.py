"""An expert on another server of the protocol: its answers are ours, and what is not the artifact is not asked."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.traffic.process import free_port
from serving.errors import StageDownError, StageLateError, StageRefusedError
from serving.expert import other_server
from serving.expert.graph_form import version_of
from serving.expert.other_server import OtherServer
from serving.expert.queue import Escalations
from serving.model.artifact import Artifact
from tests.made import make_artifact, pixels
from tests.serving.expert.other_experts import VARIANT, answers, client, expert_for_texts, items_of, ours, play, until
from tests.serving.expert.protocol_server import SERVERS, OtherModel, served

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
both_ways = pytest.mark.parametrize("scheme", SERVERS)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a description may take longer."""
    monkeypatch.setattr(other_server, "DESCRIBE_LIMIT_S", 30.0)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_artifact(tmp_path_factory.mktemp("images") / "an-expert", [VARIANT], role="expert")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return expert_for_texts(tmp_path_factory.mktemp("texts"))


@both_ways
@pytest.mark.parametrize("binary", [True, False, None], ids=["bytes", "numbers", "nothing-said"])
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_its_answers_are_those_of_our_own_expert(
    kind: str, binary: bool | None, scheme: str, request: pytest.FixtureRequest
) -> None:
    artifact = request.getfixturevalue(kind)
    items = items_of(artifact)
    model = OtherModel(artifact, binary=binary)
    ran = play(model, scheme, lambda expert: expert(items, TRACE, 5_000.0))
    assert np.abs(ran.logits - ours(artifact, items)).max() < 1e-5
    assert ran.logits.dtype == np.float32
    assert ran.expert_ms > 0
    assert ran.waited_ms is None
    assert all(rows <= 32 for rows in model.ran)
    assert model.told[-1]["traceparent"] == TRACE
    assert 0 < model.told[-1]["timeout"] <= 5_100_000


@both_ways
def test_items_that_run_alone_go_alone(scheme: str, tmp_path: Path) -> None:
    artifact = expert_for_texts(tmp_path, alone=True)
    items, model = items_of(artifact)[:5], OtherModel(artifact)
    logits = play(model, scheme, lambda expert: expert(items)).logits
    assert np.abs(logits - ours(artifact, items)).max() < 1e-5
    assert sorted(model.ran) == [1, 1, 1, 1, len(items[3])], "the windows of one text stay together"


@both_ways
def test_it_describes_what_runs_there(scheme: str, images: Artifact) -> None:
    said = play(OtherModel(images), scheme, lambda expert: expert.describe())
    version = version_of(images.digest, VARIANT)
    where = {"asked": "CPUExecutionProvider", "got": "a-runtime", "version": version}
    assert said == {**where, "variant": VARIANT, "against": ""}


@both_ways
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"inputs": []}, r"must take pixel_values FP32 \[-1, 1, 16, 16\], got one that takes none"),
        (
            {"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 16, 16]}]},
            r"got one that takes image FP32 \[-1, 1, 16, 16\]",
        ),
        (
            {"inputs": [{"name": "pixel_values", "datatype": "FP64", "shape": [-1, 1, 16, 16]}]},
            "takes pixel_values FP64",
        ),
        ({"inputs": [{"name": "pixel_values", "datatype": "FP32", "shape": [-1, 256]}]}, r"FP32 \[-1, 256\]"),
        ({"inputs": [{"name": "pixel_values", "datatype": "FP32", "shape": [1, 1, 16, 16]}]}, r"FP32 \[1, 1, 16, 16\]"),
        (
            {"outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 4]}]},
            r"must give logits FP32 \[-1, 3\], got one that gives logits FP32 \[-1, 4\]",
        ),
        ({"outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}]}, "gives scores FP32"),
    ],
    ids=["no-inputs", "name", "datatype", "rank", "batch-of-one", "labels", "output"],
)
def test_a_model_of_another_form_is_refused_in_one_sentence(
    changed: dict[str, Any], said: str, scheme: str, images: Artifact
) -> None:
    model = OtherModel(images, changed=changed)

    async def scenario(expert: OtherServer) -> str:
        with pytest.raises(StageDownError, match=said):
            await expert([pixels(1)[0]])
        return (await expert.describe())["error"]

    error = play(model, scheme, scenario)
    assert "export-triton" in error
    assert "\n" not in error
    assert not model.ran


@both_ways
def test_another_artifact_is_never_asked(scheme: str, images: Artifact) -> None:
    async def refused(expert: OtherServer) -> str:
        with pytest.raises(StageDownError, match="operating point was chosen for"):
            await expert([pixels(1)[0]])
        return (await expert.describe())["error"]

    for model in (
        OtherModel(images, versions=[version_of("2" * 64, VARIANT)]),
        OtherModel(images, versions=["1"]),
        OtherModel(images, parameters={"digest": "2" * 64}),
        OtherModel(images, versions=["1"], parameters={"digest": "2" * 64}),
    ):
        assert images.digest[:12] in play(model, scheme, refused)
        assert not model.ran
    vouched = OtherModel(images, versions=["1"], parameters={"digest": "2" * 64})
    assert "222222222222" in play(vouched, scheme, refused, "/versions/1"), "what it says counts"


@both_ways
def test_a_digest_among_the_parameters_is_enough(scheme: str, images: Artifact) -> None:
    model = OtherModel(images, versions=["1"], parameters={"digest": images.digest, "variant": VARIANT})
    items = list(pixels(2))
    assert np.abs(play(model, scheme, lambda expert: expert(items)).logits - ours(images, items)).max() < 1e-5


@both_ways
def test_a_version_that_the_url_vouches_for_must_compute_the_golden_items(scheme: str, images: Artifact) -> None:
    items = list(pixels(2))
    right = OtherModel(images, versions=["7"])
    logits = play(right, scheme, lambda expert: expert(items), "/versions/7").logits
    assert np.abs(logits - ours(images, items)).max() < 1e-5
    assert right.ran[0] == 4, "the golden items"

    async def refused(expert: OtherServer) -> None:
        with pytest.raises(StageDownError, match="version 7 is asked because the URL names it, and is no such model"):
            await expert(items)

    play(OtherModel(images, versions=["7"], factor=-1.0), scheme, refused, "/versions/7")
    changing = OtherModel(images, versions=["7"])

    async def changed(expert: OtherServer) -> None:
        await expert(items)
        changing.factor = -1.0
        assert "is no such model" in (await expert.describe())["error"]
        await refused(expert)

    play(changing, scheme, changed, "/versions/7")


@both_ways
def test_golden_items_that_do_not_hold_are_told(scheme: str, images: Artifact) -> None:
    declared: list[tuple[bool, dict[str, str]]] = []

    async def main() -> dict[str, str]:
        model = OtherModel(images, factor=-1.0)
        async with served(model, scheme) as url:
            expert = client(url, images, declare=lambda holds, **info: declared.append((holds, info)))
            await expert([pixels(1)[0]])
            said = await expert.describe()
            await expert.close()
            return said

    assert "does not compute here what was certified" in asyncio.run(main())["against"]
    info = {"model": "an-expert", "digest": images.digest, "variant": VARIANT, "provider": "a-runtime", "device": ""}
    assert declared == [(False, info)]


@both_ways
def test_it_is_checked_again_when_it_was_away(scheme: str, images: Artifact, logged: list[logging.LogRecord]) -> None:
    items, port = list(pixels(2)), free_port()

    async def main() -> None:
        expert = client(f"oip+{scheme}://127.0.0.1:{port}/an-expert", images)

        async def down(said: str = "Error") -> None:
            with pytest.raises(StageDownError, match=said):
                await expert(items)

        await down()
        first = OtherModel(images)
        async with served(first, scheme, port):
            await answers(expert, items)
            looked_at = first.looked_at
            await expert(items)
            assert first.looked_at == looked_at, "once"
        for _ in range(3):
            await down()
        other = OtherModel(images, versions=[version_of("2" * 64, VARIANT)])
        async with served(other, scheme, port):
            await until(expert, lambda said: "does not say that it serves this artifact" in said.get("error", ""))
            await down("does not say that it serves this artifact")
        assert not other.ran
        second = OtherModel(images)
        async with served(second, scheme, port):
            await answers(expert, items)
            assert second.looked_at
            assert second.ran[0] == 4, "the golden items"
        await expert.close()

    asyncio.run(main())
    said = [record.getMessage() for record in logged]
    assert sum("does not answer, its screen answers alone" in line for line in said) == 2
    assert sum("answers again" in line for line in said) == 2


@both_ways
def test_a_version_that_is_taken_away_is_not_answered_by_another(scheme: str, images: Artifact) -> None:
    model = OtherModel(images)

    async def scenario(expert: OtherServer) -> None:
        await expert([pixels(1)[0]])
        ran = len(model.ran)
        model.versions = [version_of("2" * 64, VARIANT)]
        with pytest.raises(StageDownError):
            await expert([pixels(1)[0]])
        assert len(model.ran) == ran

    play(model, scheme, scenario)


@both_ways
def test_a_full_server_refuses_and_is_not_down(scheme: str, images: Artifact) -> None:
    model = OtherModel(images)

    async def scenario(expert: OtherServer) -> None:
        await expert([pixels(1)[0]])
        model.status = 503
        with pytest.raises(StageRefusedError):
            await expert([pixels(1)[0]])
        model.status = 500
        with pytest.raises(StageDownError, match=r"status 500|INTERNAL"):
            await expert([pixels(1)[0]])
        model.status = 200
        await expert([pixels(1)[0]])

    play(model, scheme, scenario)


@both_ways
def test_a_call_ends_at_its_deadline_and_the_server_hears_of_it(scheme: str, images: Artifact) -> None:
    model = OtherModel(images)

    async def scenario(expert: OtherServer) -> float:
        queue = Escalations(expert)
        await expert([pixels(1)[0]])
        model.wait_s = 30.0
        begin_s = time.monotonic()
        with pytest.raises(StageLateError):
            await queue.ask([pixels(1)[0]], begin_s + 0.3)
        took_s = time.monotonic() - begin_s
        async with asyncio.timeout(10):
            while not model.gone:
                await asyncio.sleep(0.01)
        return took_s

    assert 0.25 < play(model, scheme, scenario) < 5


@both_ways
def test_what_is_agreed_outlives_the_call_that_asked_first(scheme: str, images: Artifact) -> None:
    """Otherwise an expert whose golden items take longer than a budget would never be asked again."""
    model = OtherModel(images, wait_s=0.3)

    async def scenario(expert: OtherServer) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(expert([pixels(1)[0]], None, 100.0), 0.1)
        await until(expert, lambda said: said.get("variant") == VARIANT)
        model.wait_s = 0.0
        looked_at = model.looked_at
        await expert([pixels(1)[0]])
        assert model.looked_at == looked_at

    play(model, scheme, scenario)
