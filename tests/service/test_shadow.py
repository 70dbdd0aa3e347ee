"""A shadow beside a served cascade: two real cascades of one store, a real expert of its own, real requests."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving.model.artifact import MANIFEST, OPERATING_POINT, Artifact, write_json
from tests.conftest import ROOT, TinyCascades, messages
from tests.server import LIMIT_S, Server, command, in_full, serve
from tests.service.test_api import digit
from tests.stores import publish

SETTINGS = "shadow_share = 1.0\nshadow_margin = 0.05\n"
TEXT = ("--arg", "text=tiny-text", "--arg", "image=")


def store(tiny: TinyCascades, folder: Path) -> Path:
    """A copy of the store, with the settings of these tests beside it."""
    shutil.copytree(tiny.home / "models", folder / "home" / "models", symlinks=True)
    (folder / "settings.toml").write_text(SETTINGS)
    return folder / "home"


def rotated(models: Path, name: str) -> None:
    """Give the cascade `name` its labels in another order: it then answers nearly everything otherwise."""
    digests = {}
    for role in ("screen", "expert", "operating-point"):
        folder = models / f"{name}-{role}" / "v1"
        if role == "operating-point":
            path = folder / OPERATING_POINT
            write_json(path, {**json.loads(path.read_text()), **digests})
            continue
        manifest = json.loads((folder / MANIFEST).read_text())
        write_json(folder / MANIFEST, {**manifest, "labels": [*manifest["labels"][1:], manifest["labels"][0]]})
        digests[f"{role}_digest"] = Artifact.open(folder).digest


@pytest.fixture(scope="module")
def alike(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both kinds of input, each with a shadow of the same models, which asks its expert about every text."""
    folder = tmp_path_factory.mktemp("alike")
    home = store(tiny_cascades, folder)
    publish(home / "models", "tiny-text-next", "v1", of="tiny-text", threshold=1.1)
    publish(home / "models", "tiny-image-next", "v1", of="tiny-image")
    shadows = ("--arg", "shadow_text=tiny-text-next", "--arg", "shadow_image=tiny-image-next")
    settings = ("--arg", f"settings={folder / 'settings.toml'}")
    both = ("--arg", "text=tiny-text", "--arg", "image=tiny-image")
    with serve(*both, *shadows, *settings, home=home, folder=ROOT, log=folder / "log") as server:
        yield server


def shadow_of(server: Server, name: str) -> dict[str, Any]:
    listed: list[dict[str, Any]] = httpx.get(f"{server.url}/models", timeout=60).json()["shadows"]
    return next(each for each in listed if each["name"] == name)


def asked_until(server: Server, holds: Callable[[dict[str, Any]], bool], name: str, **more: Any) -> dict[str, Any]:
    """Send texts, one after the other, until the shadow says what is waited for."""
    texts = [text for text, _ in messages(60, seed=3)]
    end_s = time.monotonic() + LIMIT_S
    with server.client() as client:
        while not holds(said := shadow_of(server, name)):
            assert time.monotonic() < end_s, said
            for text in texts[:10]:
                reply = in_full(client, "/classify_text", json={"text": text, "budget_ms": 1000})
                assert reply.status_code == 200
            texts = texts[10:] + texts[:10]
    return said


def test_a_shadow_that_answers_alike_is_no_worse(alike: Server) -> None:
    said = asked_until(alike, lambda shadow: shadow["verdict"] == "no worse", "tiny-text-next")
    assert said["difference"]["low"] > -said["margin"]
    outcomes = said["outcomes"]
    assert said["items"] == sum(outcomes.values()) - outcomes["dropped"] >= outcomes["same"]
    assert outcomes["worse"] == outcomes["failed"] == 0, "it is the expert that says who is right"
    assert outcomes["same"] > 0.5 * said["items"]
    assert said["served"] == "tiny-text"
    assert said["models"]["expert"].startswith("tiny-text-next-expert:")
    # The shadow asks its expert about every item, the served cascade about few.
    assert said["escalation_shadow"] == 1
    assert said["escalation_served"] < 1
    assert said["escalation_difference"]["high"] == pytest.approx(1 - said["escalation_served"], abs=0.4)
    for times in (said["took_ms"], said["model_ms"]):
        assert times["n"] > 30
        assert min(times["served"], times["shadow"]) > 0
        assert times["low"] < times["difference"] < times["high"]


def test_an_answer_shows_nothing_of_the_shadow_and_no_request_may_name_it(alike: Server) -> None:
    with alike.client() as client:
        reply = in_full(client, "/classify_text", json={"text": "where is my refund"})
        assert set(reply.json()["models"].values()) == {
            client.get("/models").json()["text"][role]["tag"] for role in ("screen", "expert")
        }
        refused = client.post("/classify_text", json={"text": "where is my refund", "model": "tiny-text-next"})
        assert refused.status_code == 404
        assert "tiny-text-next" not in refused.text


def test_images_are_compared_too(alike: Server) -> None:
    end_s = time.monotonic() + LIMIT_S
    with alike.client() as client:
        while not (said := shadow_of(alike, "tiny-image-next"))["outcomes"]["same"] > 5:
            assert time.monotonic() < end_s, said
            for number in range(5):
                in_full(client, "/classify_image", content=digit(number), params={"budget_ms": 1000},
                        headers={"content-type": "image/png"})  # fmt: skip
            files = [("images", (f"{n}.png", digit(n), "image/png")) for n in range(2)]
            assert client.post("/classify_images", files=files).status_code == 200
    assert said["agreement"]["mean"] == 1
    assert said["outcomes"]["failed"] == 0


def test_metrics_say_the_same(alike: Server) -> None:
    asked_until(alike, lambda shadow: shadow["items"] > 0, "tiny-text-next")
    own = 'cascade="tiny-text",modality="text",shadow="tiny-text-next"'
    end_s = time.monotonic() + LIMIT_S
    while f"sieve_shadow_verdict{{{own}}} " not in (text := httpx.get(f"{alike.url}/metrics").text):  # told last
        assert time.monotonic() < end_s, text
        time.sleep(0.1)
    there = set(re.findall(r"^# TYPE (sieve_shadow\w+)", text, re.MULTILINE))
    guide = (ROOT / "docs" / "shadow.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| metric \| says \|\n(.*?)\n\n", guide, flags=re.DOTALL)
    named = set(re.findall(r"`(sieve_shadow\w+)`", table))
    assert {name.removesuffix("_total") for name in there} == {name.removesuffix("_total") for name in named}
    assert re.search(
        rf"^sieve_shadow_items_total{{{own.replace('shadow=', 'outcome=.same.,shadow=')}}} ", text, re.MULTILINE
    )


def test_two_processes_add_up_what_they_have_counted(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = store(tiny_cascades, tmp_path)
    publish(home / "models", "tiny-text-next", "v1", of="tiny-text")
    (tmp_path / "settings.toml").write_text(f"workers = 2\n{SETTINGS}")
    more = ("--arg", "shadow_text=tiny-text-next", "--arg", f"settings={tmp_path / 'settings.toml'}")
    texts, asked = [text for text, _ in messages(60, seed=3)], 0
    with serve(*TEXT, *more, home=home, folder=ROOT, log=tmp_path / "log") as server:
        end_s = time.monotonic() + LIMIT_S
        while len(list(home.glob("sieve-metrics-*/shadow-tiny-text-*.json"))) < 2:  # one of each process
            assert time.monotonic() < end_s
            with server.client() as client:  # a connection of its own, which either process may take
                in_full(client, "/classify_text", json={"text": texts[asked % 60], "budget_ms": 1000})
            asked += 1
        for _ in range(8):  # whichever process is asked
            while sum((said := shadow_of(server, "tiny-text-next"))["outcomes"].values()) != asked:
                assert time.monotonic() < end_s, said
                time.sleep(0.1)


def test_its_expert_has_the_lowest_priority(alike: Server) -> None:
    assert psutil.Process(alike.worker("TextExpert2")).nice() == 19
    assert psutil.Process(alike.worker("ImageExpert2")).nice() == 19
    children = psutil.Process(alike.process.pid).children(recursive=True)
    named = {each: " ".join(each.cmdline()) for each in children}
    usual = [each for each, line in named.items() if "--service-name" in line and "Expert2" not in line]
    assert len(usual) >= 3, "the API and two experts"
    assert {each.nice() for each in usual} == {psutil.Process().nice()}


def test_a_shadow_that_answers_otherwise_is_worse_and_one_that_breaks_harms_nobody(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    home = store(tiny_cascades, tmp_path)
    publish(home / "models", "tiny-bad", "v1", of="tiny-text", threshold=1.1)
    rotated(home / "models", "tiny-bad")
    more = ("--arg", "shadow_text=tiny-bad", "--arg", f"settings={tmp_path / 'settings.toml'}")
    with serve(*TEXT, *more, home=home, folder=ROOT, log=tmp_path / "log") as server:
        said = asked_until(server, lambda shadow: shadow["verdict"] == "worse", "tiny-bad")
        assert said["difference"]["high"] < -said["margin"]
        assert said["outcomes"]["worse"] > 0
        assert said["agreement"]["mean"] < 0.5
        os.kill(server.worker("TextExpert2"), signal.SIGSTOP)  # its calls hang, and are given up
        before = said["outcomes"]["failed"]
        said = asked_until(server, lambda shadow: shadow["outcomes"]["failed"] > before, "tiny-bad")
        with server.client() as client:
            reply = in_full(client, "/classify_text", json={"text": "where is my refund", "budget_ms": 1000})
        assert reply.json()["models"]["screen"].startswith("tiny-text-screen:")
        os.kill(server.worker("TextExpert2"), signal.SIGCONT)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("shadow_text=tiny-text",), "must name different cascades, got one name twice"),
        (("text=", "shadow_text=tiny-marked"), "shadow_text must go with a cascade that is served, got no text"),
        (("shadow_text=tiny-marked",), "the shadow tiny-marked must take what tiny-text takes and have its labels"),
        (("shadow_text=a,b",), "must be the name of one cascade"),
        (("shadow_text=tiny-none",), "model tiny-none-"),
    ],
)
def test_a_shadow_that_cannot_be_compared_is_refused_in_one_sentence(
    tiny_cascades: TinyCascades, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    home = store(tiny_cascades, tmp_path)
    publish(home / "models", "tiny-marked", "v1", of="tiny-text", mark="other ")
    given = dict(part.split("=", 1) for part in (*TEXT[1::2], *arguments))
    line, environment = command("serve", "--port", "0", *(f"--arg={k}={v}" for k, v in given.items()), home=home)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert says in said
