"""What `strict` demands before the start, and how a promise is watched afterwards."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.cascade import promise as module
from serving.cascade.deferral import OperatingPoint
from serving.cascade.promise import Promising, require_golden, require_promise, watch_promises
from serving.errors import ArtifactError
from serving.expert.call import Ran
from serving.model.artifact import Artifact
from tests.artifacts import change_weight, claim
from tests.conftest import TinyCascades


class Cascade:
    """A cascade of which something else is said each time; the last thing for ever."""

    kind = "text"

    def __init__(self, name: str, *said: list[str]) -> None:
        self.name, self._said = name, list(said)

    async def against_promise(self) -> list[str]:
        return self._said.pop(0) if len(self._said) > 1 else self._said[0]


@pytest.fixture
def pair(tiny_cascades: TinyCascades, tmp_path: Path) -> Callable[..., tuple[Artifact, Artifact, OperatingPoint]]:
    """A function that opens screen, expert and point, of which the one that is named computes something else."""

    def opened(changed: str = "") -> tuple[Artifact, Artifact, OperatingPoint]:
        folders = {}
        for role in ("screen", "expert"):
            folders[role] = Path(shutil.copytree(tiny_cascades.artifact("tiny-text", role), tmp_path / role))
            if role == changed:
                for variant in Artifact.open(folders[role]).manifest.variants:
                    change_weight(folders[role], variant)
                claim(folders[role])
        point = OperatingPoint.read(tiny_cascades.artifact("tiny-text", "operating-point"))
        return Artifact.open(folders["screen"]), Artifact.open(folders["expert"]), point

    return opened


def test_what_was_certified_is_served(pair: Callable[..., tuple[Artifact, Artifact, OperatingPoint]]) -> None:
    screen, expert, point = pair()
    require_promise(screen, expert, point, None)
    require_golden(expert)


@pytest.mark.parametrize("changed", ["screen", "expert"])
def test_something_else_is_refused(
    pair: Callable[..., tuple[Artifact, Artifact, OperatingPoint]], changed: str
) -> None:
    screen, expert, point = pair(changed)
    with pytest.raises(ArtifactError, match=f"strict=true refuses to serve it: tiny-text-{changed}"):
        require_promise(screen, expert, point, None)


def test_another_variant_of_the_expert_is_refused(
    pair: Callable[..., tuple[Artifact, Artifact, OperatingPoint]],
) -> None:
    screen, expert, point = pair()
    other = point.model_copy(update={"expert_variant": "gpu-fp16"})
    with pytest.raises(ArtifactError, match=r"for the expert's variant gpu-fp16, and cpu-\S+ would run"):
        require_promise(screen, expert, other, None)


class Remote:
    """An expert on another machine, which says something else each time; the last thing for ever."""

    def __init__(self, *said: dict[str, str]) -> None:
        self._said, self.closed = list(said), False

    async def __call__(self, *_: object) -> Ran:
        raise AssertionError("it is not asked to run anything")

    async def describe(self) -> dict[str, str]:
        return self._said.pop(0) if len(self._said) > 1 else self._said[0]

    async def close(self) -> None:
        self.closed = True


def test_an_expert_on_another_machine_is_asked_until_it_answers(
    pair: Callable[..., tuple[Artifact, Artifact, OperatingPoint]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    screen, expert, point = pair("expert")  # what this machine would run of it is of no account
    remote = Remote({"error": "starting"}, {"error": "starting"}, {"variant": point.expert_variant, "against": ""})
    require_promise(screen, expert, point, remote)
    assert remote.closed


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"variant": "cpu-int8", "against": "it computes something else"}, "it computes something else"),
        ({"variant": "gpu-fp16", "against": ""}, "and gpu-fp16 would run"),
        ({"error": "the expert does not answer"}, "the expert does not answer"),
        ({}, "and nothing known would run"),
    ],
)
def test_an_expert_on_another_machine_that_runs_something_else_is_refused(
    pair: Callable[..., tuple[Artifact, Artifact, OperatingPoint]],
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, str],
    says: str,
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    with pytest.raises(ArtifactError, match=f"strict=true refuses to serve it: .*{says}"):
        require_promise(*pair(), Remote(said))


def test_a_promise_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    told: list[tuple[str, bool]] = []

    async def main() -> None:
        watch = asyncio.create_task(watch_promises([Cascade("text", [], ["away"], []), Cascade("image", [])], tell))
        while len(told) < 6:
            await asyncio.sleep(0)
        watch.cancel()

    def tell(cascade: Promising, applies: bool) -> None:
        told.append((cascade.name, applies))

    asyncio.run(main())
    in_turn = [("text", True), ("image", True), ("text", False), ("image", True), ("text", True), ("image", True)]
    assert told[:6] == in_turn
