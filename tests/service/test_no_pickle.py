"""No pickle, from wherever it comes: it is refused with 415, and nothing is loaded."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
import numpy as np
import psutil
import pytest
from _bentoml_impl.serde import Payload, PickleSerde

from serving.expert.wire import pack
from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, Server, in_full, serve
from tests.service.test_degraded import TEXT_ONLY, with_point

PICKLE = "application/vnd.bentoml+pickle"
KINDS = [
    {"Content-Type": PICKLE},
    {"Content-Type": f"{PICKLE}; charset=utf-8"},
    {"Content-Type": PICKLE.upper()},
    {"Content-Type": PICKLE, "Buffer-Lengths": "60"},
    [("Content-Type", "application/json"), ("Content-Type", PICKLE)],
    [("Content-Type", PICKLE), ("Content-Type", "application/json")],
    {"Content-Type": "application/json", "Payload-Container": "PickleContainer"},
    {"Payload-Container": "NdarrayContainer", "Payload-Meta": '{"format": "pickle5"}', "Batch-Size": "1"},
]
# Types that BentoML reads as something else: they are no pickle, and must not be taken for one.
OTHER_KINDS = [
    {},
    {"Content-Type": "application/json"},
    {"Content-Type": "application/octet-stream"},
    {"Content-Type": "application/x-www-form-urlencoded"},
]
PATHS = ["/classify", "/infer", "/model", "/nowhere"]


class Mark:
    """Loading its pickle makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def inner(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server whose expert is an inner service on a TCP port, where BentoML itself takes pickle; and its address."""
    folder = tmp_path_factory.mktemp("tcp")
    home = with_point(tiny_cascades, folder / "home")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as running:
        patch.setenv("BENTOML_NO_UDS", "1")
        server = running.enter_context(serve(*TEXT_ONLY, home=home, folder=ROOT, log=folder / "log"))
        worker = psutil.Process(server.worker("TextExpert"))
        ports = {c.laddr.port for c in worker.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        # Every worker is handed all sockets, the API's too.
        (port,) = ports - {urlparse(server.url).port}
        yield server, f"http://127.0.0.1:{port}"


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def test_the_pickle_of_these_tests_leaves_a_mark_where_bentoml_loads_it(mark: Path) -> None:
    PickleSerde().deserialize_value(Payload((pickle.dumps(Mark(mark)),)))
    assert mark.exists()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_says_that_it_is_a_pickle_is_refused(inner: tuple[Server, str], mark: Path, path: str, kind: Any) -> None:
    reply = httpx.post(inner[1] + path, content=pickle.dumps(Mark(mark)), headers=kind, timeout=20)
    assert reply.status_code == 415
    assert "pickle" in reply.text
    assert not mark.exists()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", OTHER_KINDS, ids=str)
def test_what_does_not_say_so_is_not_loaded(inner: tuple[Server, str], mark: Path, path: str, kind: Any) -> None:
    reply = httpx.post(inner[1] + path, content=pickle.dumps(Mark(mark)), headers=kind, timeout=20)
    assert 400 <= reply.status_code <= 500
    assert not mark.exists()


@pytest.mark.parametrize("part_kind", [PICKLE, "application/json", "application/octet-stream"])
def test_a_part_of_a_form_is_not_loaded(inner: tuple[Server, str], mark: Path, part_kind: str) -> None:
    form = {"items": ("items", pickle.dumps(Mark(mark)), part_kind)}
    reply = httpx.post(f"{inner[1]}/classify", files=form, timeout=20)
    assert 400 <= reply.status_code <= 500
    assert not mark.exists()


def test_neither_does_the_api(inner: tuple[Server, str], mark: Path) -> None:
    for path in ("/classify_text", "/classify_texts", "/classify", "/models"):
        for kind in KINDS:
            httpx.post(inner[0].url + path, content=pickle.dumps(Mark(mark)), headers=kind, timeout=20)
    assert not mark.exists()


def test_what_is_meant_for_the_expert_goes_through(inner: tuple[Server, str]) -> None:
    said = httpx.get(f"{inner[1]}/model")
    assert said.json()["variant"] in ("cpu-fp32", "cpu-int8"), "whichever was the faster one"
    message = pack([np.array([2, 5, 3])])
    assert httpx.post(f"{inner[1]}/infer", content=message).status_code == 200
    assert (
        httpx.post(f"{inner[1]}/infer", content=message, headers={"If-Match": said.headers["etag"]}).status_code == 200
    )
    other = httpx.post(f"{inner[1]}/infer", content=message, headers={"If-Match": '"another"'})
    assert (other.status_code, other.headers["etag"]) == (412, said.headers["etag"])
    with inner[0].client() as client:
        sent = {"text": "where is my refund", "budget_ms": PATIENT_MS}
        assert in_full(client, "/classify_text", json=sent).json()["degraded"] is None
