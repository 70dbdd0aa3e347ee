"""The audit of served cascades: two processes and a restart add up, kept answers count, a broken promise is told."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.model.artifact import MANIFEST
from tests.artifacts import change_weight, claim_in_store
from tests.conftest import ROOT, TinyCascades, messages
from tests.server import LIMIT_S, PATIENT_MS, Server, in_full, pauses, serve
from tests.service.test_degraded import TEXT_ONLY, with_point

TEXTS = [text for text, _ in messages(40, seed=91)]
SETTINGS = "workers = 2\naudit_share = 1.0\ncache_mb = 1\n"


def served(folder: Path, home: Path, settings: str = SETTINGS) -> Any:
    path = folder / "settings.toml"
    path.write_text(settings)
    return serve(*TEXT_ONLY, "--arg", f"settings={path}", home=home, folder=ROOT, log=folder / "log")


def expert_of(home: Path) -> tuple[Path, str]:
    """The folder of the text expert in a store, and the variant that runs of it."""
    (folder,) = (path.parent for path in (home / "models" / "tiny-text-expert").glob(f"*/{MANIFEST}"))
    return folder, json.loads((folder / MANIFEST).read_text())["default_cpu"]


def audit(server: Server, wanted: dict[str, Any]) -> dict[str, Any]:
    """What /models says of the audit, once that is `wanted`, in whichever process answers."""
    end_s, pause = time.monotonic() + LIMIT_S, pauses()
    while True:
        said: dict[str, Any] = httpx.get(f"{server.url}/models").json()["text"]["audit"]
        if wanted.items() <= said.items():
            return said
        assert time.monotonic() < end_s, said
        time.sleep(next(pause))


def ask(server: Server, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The answers, one after the other on connections of their own, so that both processes have some."""
    answers = []
    for text in texts:
        with server.client() as client:
            answers.append(in_full(client, "/classify_text", json={"text": text, "budget_ms": PATIENT_MS}).json())
    return answers


def counted(server: Server, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[{{ ]", line))


def test_both_processes_and_a_restart_add_up_to_one_state_and_kept_answers_count(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    home = with_point(tiny_cascades, tmp_path, threshold=0.0)
    with served(tmp_path, home) as server:
        answers = ask(server, TEXTS * 2)
        assert {answer["stage"] for answer in answers} == {"screen"}
        assert any(answer["cached"] for answer in answers)
        everything = len(answers)
        said = audit(server, {"audited": everything, "dropped": 0})
        assert (said["share"], said["saved"], said["raised"]) == (1.0, True, [])
        assert said["promise"] in ("undecided", "holds")
        # Each text was answered twice, by the same screen, so it agrees twice or not at all.
        assert said["disagreed"] % 2 == 0
        end_s = time.monotonic() + LIMIT_S
        while counted(server, "sieve_audited_total") < everything:
            assert time.monotonic() < end_s
        assert counted(server, "sieve_audit_items_total") == counted(server, "sieve_audit_trusted_total") == everything
        assert counted(server, "sieve_promise_state") in (0, 1)
        disagreed = said["disagreed"]
    with served(tmp_path, home) as server:
        audit(server, {"audited": everything, "disagreed": disagreed})
        ask(server, TEXTS[:5])
        audit(server, {"audited": everything + 5})


@pytest.mark.parametrize("on_broken", ["tell", "raise"])
def test_a_broken_promise_is_told_and_raises_the_threshold_where_the_settings_say_so(
    tiny_cascades: TinyCascades, tmp_path: Path, on_broken: str
) -> None:
    home = with_point(tiny_cascades, tmp_path, threshold=0.0, certified_thresholds=[0.0, 1.000001])
    change_weight(*expert_of(home))
    claim_in_store(home / "models", "tiny-text", "expert")
    with served(tmp_path, home, f"{SETTINGS}on_broken = '{on_broken}'\n") as server:
        assert ask(server, TEXTS)[0]["stage"] == "screen"
        if on_broken == "tell":
            said = audit(server, {"promise": "broken", "threshold": 0.0, "raised": []})
            assert "got another answer than the expert's" in said["why"]
            return
        (raised,) = audit(server, {"threshold": 1.000001})["raised"]
        assert (raised["threshold"], raised["before"]) == (1.000001, 0.0)
        assert "got another answer than the expert's" in raised["reason"]
        ask(server, TEXTS[:6])
        audit(server, {"promise": "holds"})  # nothing is trusted any more
    with served(tmp_path, home, f"{SETTINGS}on_broken = 'raise'\n") as server:
        assert {answer["stage"] for answer in ask(server, TEXTS)} == {"expert"}, "a restart lets it stay where it is"
