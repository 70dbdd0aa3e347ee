"""examples/python-client: its command lines answer, a bad text is explained, a refusal is retried."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from tests.examples.following import EXAMPLES, LOCAL, lines
from tests.server import Server
from tests.service.test_api import digit

FOLDER = EXAMPLES / "python-client"


@pytest.fixture(scope="module")
def client() -> ModuleType:
    spec = importlib.util.spec_from_file_location("client", FOLDER / "client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_commands_answer(server: Server, tmp_path: Path) -> None:
    (tmp_path / "digits-0.png").write_bytes(digit(0))
    texts, image = lines("python-client", "python client.py")
    for line in (texts, [*image[:-1], str(tmp_path / "digits-0.png")]):
        url, *inputs = line
        assert url == LOCAL
        command = [sys.executable, "client.py", server.url, *inputs]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert [row.rpartition(": ")[2] for row in done.stdout.splitlines()] == inputs


def test_what_is_wrong_with_a_text_is_said(client: ModuleType, server: Server) -> None:
    sieve = client.Sieve(server.url)
    good, bad = sieve.texts(["where is my refund", " "])
    assert good["label"] in good["scores"]
    assert "must not be empty" in bad["error"]["message"]
    with pytest.raises(client.SieveError, match=r"text: must not be empty.*\(request \w+\)"):
        sieve.text("")


def test_a_refusal_is_retried_when_the_service_says(client: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waits.append)
    replies = [httpx.Response(503, headers={"Retry-After": "1"}), httpx.Response(200, json={"label": "a"})]
    sieve = client.Sieve("http://service")
    sieve._http = httpx.Client(transport=httpx.MockTransport(lambda _: replies.pop(0)), base_url="http://service")
    assert sieve.text("hello") == {"label": "a"}
    assert waits == [1.0]
