"""What the hostile tests share: a log that stays quiet, answers that keep to the document, and a count of all cases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.conftest import ROOT
from tests.hostile.raw import Answer
from tests.server import Server
from tests.service.test_document import validator

# What each request may get, whatever it is, beside what the document says of its address.
UNREAD = {400, 404, 405, 408, 431}


@pytest.fixture
def loud() -> None:
    """For tests of an expert's batchable API: BentoML logs a stack trace for each bad request there."""


@pytest.fixture(autouse=True)
def quiet(server: Server, request: pytest.FixtureRequest) -> Iterator[None]:
    """No stack trace may be in the server's log for anything that a test sends."""
    begin = server.log.stat().st_size
    process = server.worker("sieve")
    yield
    said = server.log.read_bytes()[begin:].decode(errors="replace")
    assert "Traceback" not in said or "loud" in request.fixturenames, said[-4_000:]
    assert server.worker("sieve") == process, "the process was replaced"


class Document:
    """The service's own OpenAPI document."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.validator = cache(self._validator)

    def check(self, path: str, answer: Answer) -> None:
        """Fail unless `answer` is as the document says of POSTs to `path`."""
        assert answer.status < 500 or answer.status == 503, answer
        assert b"Traceback" not in answer.body
        said = self.said["paths"][path]["post"]["responses"]
        assert str(answer.status) in said or answer.status in UNREAD, answer
        kind = answer.headers["content-type"]
        if str(answer.status) not in said:
            assert kind == "application/json", answer
        elif kind != "application/octet-stream":
            assert kind in said[str(answer.status)]["content"], answer
            self.validator(path, answer.status).validate(answer.json())

    def _validator(self, path: str, status: int) -> Draft202012Validator:
        return validator(self.said, path, status)


@pytest.fixture(scope="session")
def document(server: Server) -> Document:
    return Document(httpx.get(f"{server.url}/docs.json").json())


class Tally:
    """How many cases there were, by suite and by what came of them."""

    def __init__(self) -> None:
        self.suites: dict[str, Counter[str]] = {}

    def add(self, suite: str, came: object, cases: int = 1) -> None:
        """Count cases."""
        self.suites.setdefault(suite, Counter())[str(came)] += cases

    def cases(self, suite: str) -> int:
        return sum(self.suites[suite].values())


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Iterator[Tally]:
    """The count, which `make test-hostile` writes into build/hostile.json."""
    counted = Tally()
    yield counted
    if pytestconfig.getoption("markexpr") == "hostile":
        figures = {name: dict(sorted(came.items())) for name, came in sorted(counted.suites.items())}
        whole = {"cases": sum(map(counted.cases, counted.suites)), "suites": figures}
        (ROOT / "build" / "hostile.json").write_text(json.dumps(whole, indent=2) + "\n")
