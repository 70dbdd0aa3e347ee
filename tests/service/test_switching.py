"""Two cascades for texts in one service of two processes, one of which is switched to another version under load."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, Server, in_full, serve
from tests.service.test_degraded import with_point
from tests.stores import publish

KEY = "0123456789abcdef"
TEXT = "where is my refund"


@pytest.fixture(scope="module")
def several(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The cascades tiny-text, all of whose texts go to the expert, and second; of tiny-text, v2 and a forged v3 too."""
    folder = tmp_path_factory.mktemp("several")
    home, settings = with_point(tiny_cascades, folder, threshold=1.1), folder / "settings.toml"
    publish(home / "models", "second", "v1", of="tiny-text", mark="second ")
    settings.write_text("workers = 2\n")
    given = ("--arg", "text=tiny-text,second", "--arg", "image=", "--arg", f"settings={settings}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIEVE_ADMIN_KEY", KEY)
        with serve(*given, home=home, folder=ROOT, log=folder / "log") as running:
            publish(home / "models", "tiny-text", "v2", mark="v2 ")
            publish(home / "models", "tiny-text", "v3", mark="v3 ", forged=True)
            yield running


def switch(client: httpx.Client, version: str, key: str = KEY, name: str = "tiny-text") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return client.post(f"/admin/models/{name}", json={"version": version}, headers=headers)


class Load:
    """What requests got that were sent all the time, each over a new connection."""

    def __init__(self) -> None:
        self.versions: Counter[str] = Counter()
        self.wrong: list[Any] = []

    def send(self, url: str, stop: threading.Event) -> None:
        while not stop.is_set():
            reply = httpx.post(f"{url}/classify_text", json={"text": TEXT, "budget_ms": PATIENT_MS}, timeout=60)
            if reply.status_code != 200:
                self.wrong.append(reply.text)
                continue
            answer = reply.json()
            tags = [answer["models"][role].partition(":")[2] for role in ("screen", "expert")]
            new = [answer["label"].startswith("v2 "), *(tag == "v2" for tag in tags)]
            if len(set(new)) > 1:
                self.wrong.append(answer)
            self.versions["new" if new[0] else "old"] += 1


@contextmanager
def loaded(url: str) -> Iterator[Load]:
    """Two clients that ask all the time."""
    load, stop = Load(), threading.Event()
    threads = [threading.Thread(target=load.send, args=(url, stop)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_each_cascade_answers_under_its_name(several: Server) -> None:
    with several.client() as client:
        described = client.get("/models").json()
        assert (described["text"]["name"], [each["name"] for each in described["others"]]) == ("tiny-text", ["second"])
        sent = {"text": TEXT, "budget_ms": PATIENT_MS}
        first, second = (
            in_full(client, "/classify_text", json={**sent, **more}).json() for more in ({}, {"model": "second"})
        )
        assert (first["stage"], first["models"]["expert"].partition(":")[0]) == ("expert", "tiny-text-expert")
        assert second["models"]["screen"] == "second-screen:v1"
        assert second["label"].startswith("second ")
        given = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}
        outputs = [{"name": "label"}]
        body = client.post("/v2/models/second/infer", json={"inputs": [given], "outputs": outputs}).json()
        assert body["outputs"][0]["data"] == [second["label"]]
        missing = client.post("/classify_text", json={**sent, "model": "third"})
        assert (missing.status_code, missing.json()["error"]["message"].partition("; ")[2]) == (
            404,
            "use one of these: tiny-text, second",
        )
        text = client.get("/metrics").text
        for name in ("tiny-text", "second"):
            for role in ("screen", "expert"):
                assert re.search(rf'sieve_model_info{{cascade="{name}".*role="{role}".*}} 1', text), (name, role)


def test_what_cannot_be_served_changes_nothing(several: Server) -> None:
    with several.client() as client:
        before = client.get("/models").json()["text"]["operating_point"]["tag"]
        for version, key, name, status, says in (
            ("v2", "another key of 16", "tiny-text", 401, "Authorization"),
            ("v2", KEY, "third", 404, "use one of these: tiny-text, second"),
            ("v9", KEY, "tiny-text", 409, "no such version of tiny-text-operating-point"),
            ("v3", KEY, "tiny-text", 409, "the expert refuses tiny-text-expert:v3: .*does not compute here what was"),
        ):
            reply = switch(client, version, key, name)
            assert reply.status_code == status, reply.text
            assert re.search(says, reply.json()["error"]["message"]), reply.text
        assert client.get("/models").json()["text"]["operating_point"]["tag"] == before


def test_a_switch_under_load_loses_no_request_and_mixes_no_versions(several: Server) -> None:
    with several.client() as client:
        described = client.get("/models").json()["text"]
        old = described["operating_point"]["tag"].partition(":")[2]
        with loaded(several.url) as load:
            reply = switch(client, "v2")
            assert reply.status_code == 200, reply.text
            said = reply.json()
            assert (said["version"], said["before"]) == ("v2", old)
            assert said["processes"] == {"switched": 2, "of": 2}
            for _ in range(8):  # over new connections, to either process
                answer = httpx.post(f"{several.url}/classify_text", json={"text": TEXT, "budget_ms": PATIENT_MS}).json()
                assert answer["models"]["screen"] == "tiny-text-screen:v2"
        assert load.wrong == []
        assert set(load.versions) == {"old", "new"}, "requests came before and after"
        assert client.get(f"/v2/models/tiny-text/versions/{old}").status_code == 404
        assert client.get("/v2/models/tiny-text/versions/v2").status_code == 200
        path = client.get("/docs.json").json()["paths"]["/v2/models/{name}/versions/{version}"]
        assert "v2" in path["get"]["parameters"][1]["schema"]["enum"]
        tags = re.findall(
            r'^sieve_model_info{cascade="tiny-text".*model="(\S+?)".*role="screen".*} 1', text_of(client), re.M
        )
        assert tags == ["tiny-text-screen:v2"]
        again = switch(client, "v2").json()
        assert again["before"] == "v2", "it is served already"


def text_of(client: httpx.Client) -> str:
    return client.get("/metrics").text
