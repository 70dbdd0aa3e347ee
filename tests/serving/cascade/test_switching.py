"""A switch to another version: what it waits for, when it is refused, and who follows."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.cascade import switching as module
from serving.cascade.modality import StoredCascade
from serving.cascade.served import Served
from serving.cascade.switching import Switching
from serving.cascade.versions import Versions
from serving.errors import ArtifactError, ProviderError, SwitchRefusedError
from serving.model.artifact import TextSettings
from serving.model.head import SOFTMAX


class Cascade:
    """A cascade that notes what is done with it; `against` is what its checks say."""

    kind, pairs = "text", False
    cascade = SimpleNamespace(screen_head=SOFTMAX)

    def __init__(
        self, version: str, steps: list[str], *, golden: str = "", against: str = "", warm: bool = True
    ) -> None:
        self.name, self.version, self.steps = "a", version, steps
        self.screen_tag, self.expert_tag = f"a-screen:s{version}", f"a-expert:e{version}"
        self.golden, self._against, self._warm = SimpleNamespace(against=golden), against, warm

    async def against_promise(self) -> list[str]:
        self.steps.append("asked")
        return [self._against] if self._against else []

    async def warm_up_expert(self, longest_ms: float) -> bool:
        assert longest_ms == module.WARM_UP_CALL_MS
        self.steps.append("warmed")
        return self._warm

    async def close(self) -> None:
        self.steps.append(f"closed {self.version}")


def stored(version: str, *, pairs: bool = False, kind: str = "text") -> Any:
    settings = TextSettings(max_tokens=8, pad_token_id=0, inputs=("input_ids",), pairs=pairs)
    settings = settings if kind == "text" else SimpleNamespace(kind=kind)  # type: ignore[assignment]
    manifest = SimpleNamespace(settings=settings, thresholds=None, labels=("a", "b"))
    return SimpleNamespace(version=version, screen=SimpleNamespace(artifact=SimpleNamespace(manifest=manifest)))


class Process:
    """A process of the API that serves version 1, and what becomes of it."""

    def __init__(self, folder: Path | None = None, find: Callable[[Any], Any] = stored, **cascade: Any) -> None:
        self.steps: list[str] = []
        self.served = Served([Cascade("1", self.steps)])  # type: ignore[list-item]  # as far as it is needed
        self.refuses = ""
        self.switching = Switching(
            self.served,
            Versions(folder),
            lambda _name, version: find(version or "9"),
            lambda found: Cascade(found.version, self.steps, **cascade),  # type: ignore[arg-type,return-value]
            self._load,
            lambda now, before: self.steps.append(f"watched {now.version} for {before.version}"),
        )

    async def _load(self, cascade: Any) -> None:
        self.steps.append(f"loaded {cascade.expert_tag}")
        if self.refuses:
            raise SwitchRefusedError(self.refuses)

    @property
    def version(self) -> str:
        return self.served.versions["a"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETIRE_S", 0.0)
    monkeypatch.setattr(module, "collect", lambda: None)  # in the tests' process it takes a second
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)


def test_a_version_is_served_when_its_screen_and_its_expert_are_ready() -> None:
    process = Process()

    async def main() -> dict[str, Any]:
        said = await process.switching.switch("a", "2")
        await asyncio.sleep(0.01)
        return said

    assert asyncio.run(main()) == {
        "name": "a",
        "version": "2",
        "before": "1",
        "models": {"screen": "a-screen:s2", "expert": "a-expert:e2"},
        "processes": {"switched": 1, "of": 1},
    }
    assert process.steps == ["loaded a-expert:e2", "asked", "warmed", "watched 2 for 1", "closed 1"]
    assert process.version == "2"


def test_without_a_version_the_newest_is_served_and_one_that_is_served_is_not_opened_again() -> None:
    process = Process()

    async def main() -> None:
        await process.switching.switch("a", None)
        process.steps.clear()
        said = await process.switching.switch("a", "9")
        assert (said["version"], said["before"]) == ("9", "9")

    asyncio.run(main())
    assert [step for step in process.steps if step != "closed 1"] == []


def not_there(_version: str) -> StoredCascade:
    raise ArtifactError("no such version of a is in the model store")


def unreadable(_version: str) -> StoredCascade:
    raise RuntimeError("Unsupported model IR version")


def no_gpu(_version: str) -> StoredCascade:
    raise ProviderError("there is no GPU")


@pytest.mark.parametrize(
    ("made", "steps", "why"),
    [
        ({"find": not_there}, 0, "no such version of a is in the model store"),
        ({"find": no_gpu}, 0, "there is no GPU"),
        ({"find": unreadable}, 0, "RuntimeError, see the log"),
        ({"find": lambda version: stored(version, pairs=True)}, 0, "must take and give what the version before does"),
        ({"find": lambda version: stored(version, kind="image")}, 0, "takes a cascade for texts, got one for images"),
        ({"golden": "golden logits differ"}, 0, "golden logits differ"),
        ({"against": "the expert computes something else"}, 2, "the expert computes something else"),
        ({"warm": False}, 3, "a-expert:e2 does not answer"),
    ],
    ids=["absent", "provider", "graph", "form", "kind", "screen", "expert", "silent"],
)
def test_a_version_that_cannot_be_served_is_refused_with_the_reason(made: Any, steps: int, why: str) -> None:
    process = Process(**made)
    with pytest.raises(SwitchRefusedError, match=f"^a goes on with version 1: .*{why}"):
        asyncio.run(process.switching.switch("a", "2"))
    assert (process.version, len(process.steps)) == ("1", steps)


def test_an_expert_that_does_not_load_it_is_a_reason_too() -> None:
    process = Process()
    process.refuses = "the expert refuses a-expert:e2: golden logits differ"
    with pytest.raises(SwitchRefusedError, match=r"^a goes on with version 1: the expert refuses a-expert:e2: golden"):
        asyncio.run(process.switching.switch("a", "2"))
    assert process.version == "1"


def beside(monkeypatch: pytest.MonkeyPatch, *processes: Process) -> tuple[Process, ...]:
    """Let each of them be a process of its own, as far as `Versions` knows."""
    told: dict[int, dict[str, str]] = {}
    monkeypatch.setattr(Versions, "serves", lambda self, versions: told.__setitem__(id(self), dict(versions)))
    monkeypatch.setattr(Versions, "served", lambda _self, name: [versions[name] for versions in told.values()])
    for process in processes:
        process.switching._versions.serves(process.served.versions)
    return processes


def test_the_other_processes_follow_and_the_first_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = beside(monkeypatch, Process(tmp_path), Process(tmp_path))

    async def main() -> dict[str, Any]:
        following = asyncio.create_task(second.switching.follow())
        said = await first.switching.switch("a", "2")
        following.cancel()
        return said

    assert asyncio.run(main())["processes"] == {"switched": 2, "of": 2}
    assert (first.version, second.version) == ("2", "2")


def test_a_process_that_cannot_follow_says_so_once_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr(module, "FOLLOW_LIMIT_S", 0.05)
    first, second = beside(monkeypatch, Process(tmp_path), Process(tmp_path, golden="golden logits differ"))

    async def main() -> dict[str, Any]:
        following = asyncio.create_task(second.switching.follow())
        said = await first.switching.switch("a", "2")
        following.cancel()
        return said

    assert asyncio.run(main())["processes"] == {"switched": 1, "of": 2}
    assert [record.getMessage() for record in logged] == [
        "this process does not follow the others: a goes on with version 1: golden logits differ"
    ]


def test_requests_that_have_found_the_old_version_keep_it() -> None:
    process = Process()

    async def main() -> None:
        found = process.served.find("text", None)
        await process.switching.switch("a", "2")
        assert (found.version, process.served.find("text", "a").version) == ("1", "2")

    asyncio.run(main())


def test_a_version_that_is_served_no_more_is_let_go_and_its_memory_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    process, left = Process(), list[object]()
    (first,) = process.served
    first.circle = first  # type: ignore[attr-defined]  # as what an error went through may hold
    gone = weakref.ref(first)
    del first
    monkeypatch.setattr(module, "collect", gc.collect)
    monkeypatch.setattr(module, "give_back", lambda: left.append(gone()))

    async def main() -> None:
        await process.switching.switch("a", "2")
        while not left:
            await asyncio.sleep(0.01)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
    assert left == [None]
