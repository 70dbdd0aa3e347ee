"""Served artifacts that do not compute what was certified: what is said of them, and that `strict` refuses them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from serving.model.artifact import MANIFEST
from tests.artifacts import change_weight, claim_in_store, forge_golden
from tests.conftest import ROOT, TinyCascades
from tests.server import Server, command, serve
from tests.service.test_degraded import TEXT_ONLY


def tampered(cascades: TinyCascades, home: Path, role: str, change: Callable[[Path, str], None]) -> Path:
    """A copy of the store in which one model of the text cascade was changed, with digests that fit."""
    shutil.copytree(cascades.home / "models", home / "models", symlinks=True)
    (manifest,) = (home / "models" / f"tiny-text-{role}").glob(f"*/{MANIFEST}")
    for variant in ("cpu-fp32", "cpu-int8"):
        change(manifest.parent, variant)
    claim_in_store(home / "models", "tiny-text", role)
    return home


def metric(server: Server, line: str) -> str:
    """The value of a metric."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    (found,) = [text for text in lines if text.startswith(line)]
    return found.rsplit(" ", 1)[1]


def test_the_promise_applies_to_what_was_certified(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    strict = ("--arg", "strict=true")
    with serve(*TEXT_ONLY, *strict, home=tiny_cascades.home, folder=ROOT, log=tmp_path / "log") as server:
        point = httpx.get(f"{server.url}/models").json()["text"]["operating_point"]
        assert (point["applies"], point["why_not"]) == (True, [])
        assert metric(server, 'sieve_promise_applies{modality="text"}') == "1.0"
        for role in ("screen", "expert"):
            assert metric(server, f'sieve_golden_holds{{modality="text",role="{role}"}}') == "1.0"


@pytest.mark.parametrize(("role", "change"), [("screen", change_weight), ("expert", forge_golden)])
def test_no_promise_applies_to_something_else(
    tiny_cascades: TinyCascades, tmp_path: Path, role: str, change: Callable[[Path, str], None]
) -> None:
    home = tampered(tiny_cascades, tmp_path / "home", role, change)
    with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as server:
        point = httpx.get(f"{server.url}/models").json()["text"]["operating_point"]
        assert point["applies"] is False
        (why,) = point["why_not"]
        assert why.startswith(f"tiny-text-{role} cpu-")
        assert "does not compute here what was certified" in why
        assert metric(server, 'sieve_promise_applies{modality="text"}') == "0.0"
        assert metric(server, f'sieve_golden_holds{{modality="text",role="{role}"}}') == "0.0"
        assert httpx.post(f"{server.url}/classify_text", json={"text": "where is my card"}).status_code == 200

    line, environment = command("serve", "--port", "0", *TEXT_ONLY, "--arg", "strict=true", home=home)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"tiny-text: strict=true refuses to serve it: tiny-text-{role}" in said
    assert "Traceback" not in said


def test_strict_refuses_an_expert_on_another_machine(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = tampered(tiny_cascades, tmp_path / "home", "expert", forge_golden)
    with serve("service:TextExpert", *TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as expert:
        given = (*TEXT_ONLY, "--arg", "strict=true", "--arg", f"text_expert_url={expert.url}")
        line, environment = command("serve", "--port", "0", *given, home=home)
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "tiny-text: strict=true refuses to serve it: tiny-text-expert" in said
    assert "Traceback" not in said


def test_strict_refuses_an_expert_that_is_served_alone(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = tampered(tiny_cascades, tmp_path / "home", "expert", change_weight)
    line, environment = command(
        "serve", "service:TextExpert", "--port", "0", *TEXT_ONLY, "--arg", "strict=true", home=home
    )
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "strict=true refuses to serve it: tiny-text-expert" in said
    assert "Traceback" not in said
