"""The cascades of an API process, from their models in the store on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.arguments import Chosen
from serving.cascade.cascade import StageAnswer
from serving.cascade.versions import Versions
from serving.errors import SwitchRefusedError
from serving.expert_tls import SYSTEM
from serving.http.admin import AdminKey
from serving.http.cascades import Cascades, Origin
from serving.http.openapi import NOTHING_BESIDE
from serving.settings import Settings
from serving.watch.metrics import Metrics
from tests.conftest import TinyCascades
from tests.serving.cascade.test_opening import ROLES, store_of
from tests.serving.conftest import sample
from tests.stores import publish

KEY = AdminKey("0123456789abcdef")
URL = "http://127.0.0.1:9"
"""Nobody listens there."""


@pytest.fixture
def opened(tiny_cascades: TinyCascades, tmp_path: Path, metrics: Metrics) -> Callable[..., Cascades]:
    """A function that opens both cascades, with v2 of the one for texts in the store, too."""
    models = Path(shutil.copytree(tiny_cascades.home / "models", tmp_path / "models", symlinks=True))

    def origin(kind: str) -> Origin:
        store = store_of(models)
        first = [store(f"tiny-{kind}-{role}")[-1] for role in ROLES]
        return Origin(chosen=Chosen(kind, f"tiny-{kind}", 0), models=first, expert_url=URL)

    def make(key: AdminKey = KEY, wanted: str = "") -> Cascades:
        versions, origins = Versions(tmp_path), [origin("text"), origin("image")]
        if not (models / "tiny-text-screen" / "v2").exists():
            publish(models, "tiny-text", "v2", mark="v2 ")
        if wanted:
            versions.want("tiny-text", wanted, wanted)
        store, settings = store_of(models), Settings(max_batch_size=2, audit_folder=str(tmp_path / "audit"))
        return Cascades(origins, store, settings, metrics, None, tls=SYSTEM, versions=versions, key=key)

    return make


def test_they_are_those_of_the_start_unless_operators_have_asked_for_others(opened: Callable[..., Cascades]) -> None:
    first = opened().served
    assert [each.name for each in first] == ["tiny-text", "tiny-image"]
    assert "v2" not in first.versions.values()
    assert opened(wanted="v2").served.versions["tiny-text"] == "v2"


def test_a_version_whose_expert_does_not_answer_is_refused(opened: Callable[..., Cascades]) -> None:
    cascades = opened()
    before = dict(cascades.served.versions)
    with pytest.raises(SwitchRefusedError, match=rf"goes on with version {before['tiny-text']}: the expert does not"):
        asyncio.run(cascades._switching.switch("tiny-text", "v2"))
    assert cascades.served.versions == before


def test_another_server_is_not_told_to_load_a_version(
    opened: Callable[..., Cascades], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its models from its own operator, and is asked for the new version as for the old one."""
    monkeypatch.setattr("tests.serving.http.test_cascades.URL", "oip+http://127.0.0.1:9/an-expert")
    cascades = opened()
    with pytest.raises(SwitchRefusedError, match="it is not known what the expert runs: the expert does not answer"):
        asyncio.run(cascades._switching.switch("tiny-text", "v2"))


def test_only_the_version_that_is_served_tells_of_drift(opened: Callable[..., Cascades], metrics: Metrics) -> None:
    cascades = opened()
    first = cascades.served.find("text", None)
    assert sample("sieve_drift_items", modality="text") == 0
    other = cascades._open(cascades._find("tiny-text", "v2"))
    for each, items, told in ((other, 100, 0), (first, 50, 50)):
        for _ in range(items):
            each.cascade.observe(0.9, False)
        assert sample("sieve_drift_items", modality="text") == told
    cascades.served.put(other)
    metrics.watch_modality(other, first)
    assert sample("sieve_drift_items", modality="text") == 100, "of the new one, from the switch on"
    infos = [
        {"modality": "text", "role": "screen", "model": each.screen_tag, **each.screen_info} for each in (first, other)
    ]
    assert [sample("sieve_model_info", **info) for info in infos] == [0, 1]


def test_without_a_key_nothing_can_be_switched(opened: Callable[..., Cascades]) -> None:
    without = opened(AdminKey(""))
    assert (without.endpoints, without.document()) == ({}, NOTHING_BESIDE)

    async def main() -> None:
        without.follow()

    asyncio.run(main())
    assert without._following is None
    assert set(opened().endpoints) == {"/admin/models/{name}", "/admin/models/tiny-text", "/admin/models/tiny-image"}


def test_an_error_in_a_cascade_ends_the_process_with_its_name(
    opened: Callable[..., Cascades], tiny_cascades: TinyCascades
) -> None:
    cascades = opened()
    broken: Any = SimpleNamespace(tag="tiny-text-screen:v1", path=str(tiny_cascades.folder))
    origin = Origin(chosen=Chosen("text", "tiny-text", 0), models=[broken] * 3, expert_url=URL)
    with pytest.raises(SystemExit, match=r"^tiny-text: .*is not an artifact"):
        Cascades(
            [origin], cascades._store, Settings(), cascades._metrics, None, tls=SYSTEM, versions=Versions(None), key=KEY
        )


def test_each_cascade_is_audited_and_that_of_a_version_before_is_saved_and_ends(
    opened: Callable[..., Cascades], tmp_path: Path
) -> None:
    async def main() -> None:
        cascades, later = opened(AdminKey("")), opened(AdminKey(""), "v2")
        cascades.follow()
        before, audits = cascades.served.find("text", None), dict(cascades._audits)
        assert set(audits) == {"tiny-text", "tiny-image"}
        await asyncio.sleep(0)  # they have begun
        assert before.auditor is not None
        before.auditor.look([StageAnswer(answer=None, stage="expert", escalated=True, degraded=None)], lambda _: None)
        cascades._watch(later.served.find("text", None), before)
        await asyncio.wait([audits["tiny-text"]])
        assert audits["tiny-text"].cancelled()
        assert not audits["tiny-image"].done()
        assert cascades._audits["tiny-text"] is not audits["tiny-text"]

    asyncio.run(main())
    (state,) = (tmp_path / "audit").glob(f"tiny-text-operating-point@{'[!v]'}*.json")
    assert '"items":1' in state.read_text()


def test_audits_go_where_the_settings_say(opened: Callable[..., Cascades], monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened().ways is None
    monkeypatch.setattr("tests.serving.http.test_cascades.Settings", partial(Settings, audit_url="nats://127.0.0.1:9"))
    cascades = opened()
    text = cascades.served.find("text", None)
    assert text.auditor is not None
    assert text.auditor.watched().broker == "away"
    assert text.auditor._elsewhere._digest == text.digests["expert"]
