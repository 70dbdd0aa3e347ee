"""What a client sees when the expert is late or gone, and what the operator sees when a model is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from serving.model.artifact import OPERATING_POINT, write_json
from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, command, in_full, serve

TEXT_ONLY = ("--arg", "text=tiny-text", "--arg", "image=")


@pytest.fixture(scope="module")
def always_escalating(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BentoML home whose text screen never trusts itself: every text escalates."""
    folder = tmp_path_factory.mktemp("always")
    return with_point(tiny_cascades, folder, threshold=1.1)


def with_point(cascades: TinyCascades, home: Path, **changes: object) -> Path:
    """A copy of the store in which the text cascade's operating point was changed by hand."""
    shutil.copytree(cascades.home / "models", home / "models", symlinks=True)
    for path in (home / "models" / "tiny-text-operating-point").glob(f"*/{OPERATING_POINT}"):
        write_json(path, {**json.loads(path.read_text()), **changes})
    return home


def test_deadline_and_death_of_the_expert(always_escalating: Path, tmp_path: Path) -> None:
    text = {"text": "where is my refund", "budget_ms": 1000}
    with (
        serve(*TEXT_ONLY, home=always_escalating, folder=ROOT, log=tmp_path / "log") as server,
        server.client() as client,
    ):
        fine = in_full(client, "/classify_text", json=text).json()
        assert (fine["stage"], fine["escalated"], fine["degraded"]) == ("expert", True, None)

        late = client.post("/classify_text", json={**text, "budget_ms": 0.05}).json()
        assert (late["stage"], late["escalated"], late["degraded"]) == ("screen", False, "deadline"), "nobody was asked"

        worker = server.worker("TextExpert")
        os.kill(worker, signal.SIGSTOP)
        begin = time.monotonic()
        stuck = client.post("/classify_text", json={**text, "budget_ms": 200}).json()
        assert time.monotonic() - begin < 5
        assert (stuck["stage"], stuck["degraded"]) == ("screen", "deadline")
        os.kill(worker, signal.SIGCONT)

        os.kill(worker, signal.SIGKILL)
        seen, end_s = set(), time.monotonic() + LIMIT_S
        while time.monotonic() < end_s:
            answer = client.post("/classify_text", json=text)
            assert answer.status_code == 200
            seen.add(answer.json()["degraded"])
            if None in seen:
                break
            time.sleep(0.1)
        assert seen & {"down", "deadline"}, "the expert was gone for a while"
        assert None in seen, "the expert came back by itself"

        missing = client.post("/classify_image", content=b"x", headers={"content-type": "image/png"})
        assert missing.status_code == 404
        assert "without an image cascade" in missing.json()["error"]["message"]


def test_an_empty_store_names_the_command(tmp_path: Path) -> None:
    line, environment = command("serve", "--port", "0", "--arg", "text=tiny-text", home=tmp_path)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "python -m optimize run" in said
    assert "make demo" in said
    assert "Traceback" not in said


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = ("--host", "127.0.0.1", "--port", str(port), "--arg", "text=", "--arg", "image=")
        line, environment = command("serve", *given, home=tmp_path)
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be had (Address already in use)" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("text=", "image="), "nothing to serve: give a name with --arg text=NAME"),
        (("text=tiny-image", "image="), "tiny-image: --arg text= takes a cascade for texts, got one for images"),
        (("text=tiny-text", "imagine=tiny-image"), "imagine"),
        (("text=tiny-text", "image=", "text_expert_url=ftp://expert:3000"), "text_expert_url"),
        (("text=other", "image="), "Cascades that are there: tiny-image, tiny-text"),
    ],
    ids=["nothing", "kind", "spelling", "address", "unknown"],
)
def test_arguments_that_make_no_sense_are_refused(
    tiny_cascades: TinyCascades, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    given = [part for argument in arguments for part in ("--arg", argument)]
    # A store of its own: a server that starts empties the folder of metrics of the one beside it.
    home = with_point(tiny_cascades, tmp_path / "home")
    line, environment = command("serve", "--port", "0", *given, home=home)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


def test_a_pair_that_does_not_match_is_refused(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    with_point(tiny_cascades, tmp_path / "home", expert_digest="0" * 64)
    line, environment = command("serve", "--port", "0", *TEXT_ONLY, home=tmp_path / "home")
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "tiny-text: the operating point was chosen for another pair" in said
    assert "Traceback" not in said
