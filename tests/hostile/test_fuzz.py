"""Requests that nobody sends on purpose: never a failure, never a wait without an end, always an answer as documented.

Each suite has a short form; `make test-hostile` runs the long ones.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.protobuf import SERVICE, new
from tests.hostile import odd
from tests.hostile.conftest import Document, Tally
from tests.hostile.raw import Answer, place_of, post, sent, sent_patiently
from tests.hostile.test_document import LEAST as DOCUMENT_CASES
from tests.server import Server

TEXT, TEXTS, INFER = "/classify_text", "/classify_texts", "/v2/models/{name}/infer"
IMAGE, IMAGES = "/classify_image", "/classify_images"
# The cases of each long suite, and those of its short form.
CASES = {"http": 4_000, "headers": 3_000, "json": 4_000, "images": 3_000, "tensors": 1_500, "grpc": 1_500}
SHORT = 20
# So many connections at once, each waited for so long: most bytes that are cut off leave the server waiting for more.
TOGETHER, PATIENCE_S = 20, 0.3


def of(suite: str) -> pytest.MarkDecorator:
    """Run a suite with few cases, and where it is asked for with many."""
    many = pytest.param(CASES[suite], marks=pytest.mark.hostile)
    return pytest.mark.parametrize("cases", [CASES[suite] // SHORT, many])


def tried(strategy: st.SearchStrategy[Any], cases: int, test: Callable[[Any], None]) -> None:
    """Run `test` with so many values. Hypothesis prints the one that fails, as small as it can be."""

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(value=strategy)
    def run(value: Any) -> None:
        test(value)

    run()


@of("http")
def test_bytes_that_are_nearly_http(server: Server, tally: Tally, cases: int) -> None:
    place = place_of(server.url)

    async def together(many: list[bytes]) -> list[list[Answer]]:
        return await asyncio.gather(*(sent_patiently(place, each, patience_s=PATIENCE_S) for each in many))

    def test(many: list[bytes]) -> None:
        for answers in asyncio.run(together(many)):
            tally.add("http", answers[0].status if answers else "waited for more")
            for answer in answers:
                assert answer.status < 500 or answer.status == 503, answer
                assert b"Traceback" not in answer.body
                assert answer.status == 503 or "x-request-id" in answer.headers or answer.status < 400, answer

    tried(st.lists(odd.http, min_size=TOGETHER, max_size=TOGETHER), cases // TOGETHER, test)


def asked(server: Server, document: Document, tally: Tally, suite: str, path: str, body: bytes, **headers: str) -> None:
    """POST to an address of the document, where {name} is a model's, and check what comes back."""
    (answer,) = sent(server.url, post(path.replace("{name}", "text"), body, headers))
    tally.add(suite, answer.status)
    document.check(path, answer)


@of("headers")
def test_headers_of_any_names_and_values(server: Server, document: Document, tally: Tally, cases: int) -> None:
    def test(value: tuple[str, dict[str, str]]) -> None:
        path, headers = value
        asked(server, document, tally, "headers", path, b'{"text": "where is my refund"}', **headers)

    tried(st.tuples(st.sampled_from([TEXT, IMAGE, INFER]), odd.headers), cases, test)


@of("json")
def test_json_of_any_shape(server: Server, document: Document, tally: Tally, cases: int) -> None:
    kind = {"Content-Type": "application/json"}

    def test(value: tuple[str, bytes]) -> None:
        path, body = value
        asked(server, document, tally, "json", path, body, **kind)

    tried(st.tuples(st.sampled_from([TEXT, TEXTS, IMAGE, IMAGES, INFER]), odd.json_bodies()), cases, test)


def form_of(data: bytes) -> tuple[bytes, str]:
    return _form(b"image", data), "multipart/form-data; boundary=x"


def several_of(data: bytes) -> tuple[bytes, str]:
    """The file between two that are sound."""
    return _form(b"images", odd.FILES[0], data, odd.FILES[0]), "multipart/form-data; boundary=x"


def _form(name: bytes, *files: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n' % name
    return b"".join(head + data + b"\r\n" for data in files) + b"--x--\r\n"


WAYS: dict[str, Callable[[bytes], tuple[bytes, str]]] = {
    "body": lambda data: (data, "image/png"),
    "form": form_of,
    "base64": lambda data: (json.dumps({"image": base64.b64encode(data).decode()}).encode(), "application/json"),
    "several": several_of,
}


@of("images")
def test_image_files_with_edits(server: Server, document: Document, tally: Tally, cases: int) -> None:
    def test(value: tuple[str, bytes]) -> None:
        body, kind = WAYS[value[0]](value[1])
        path = IMAGES if value[0] == "several" else IMAGE
        asked(server, document, tally, "images", path, body, **{"Content-Type": kind})

    tried(st.tuples(st.sampled_from(list(WAYS)), odd.images), cases, test)


@of("tensors")
def test_tensors_behind_the_json(server: Server, document: Document, tally: Tally, cases: int) -> None:
    def test(value: tuple[bytes, str]) -> None:
        body, stated = value
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": stated}
        asked(server, document, tally, "tensors", INFER, body, **headers)

    tried(odd.binary_tensors(), cases, test)


@pytest.fixture
def infer(server: Server) -> Iterator[grpc.UnaryUnaryMultiCallable]:
    """Sends the bytes of a message to ModelInfer."""
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel.unary_unary(f"/{SERVICE}/ModelInfer")


@of("grpc")
def test_messages_that_are_nearly_grpcs(infer: grpc.UnaryUnaryMultiCallable, tally: Tally, cases: int) -> None:
    """A message that cannot be read is INTERNAL by gRPC's own rules; UNKNOWN is what a handler that fails gives."""

    def test(message: bytes) -> None:
        call = infer.future(message, timeout=10)
        error = call.exception()
        tally.add("grpc", call.code().name)
        assert call.code() not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED), error
        assert "Traceback" not in (call.details() or "")

    tensor = new("ModelInferRequest.InferInputTensor", name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"where is my refund")
    whole = new("ModelInferRequest", model_name="text", inputs=[tensor], id="a").SerializeToString()
    tried(odd.edited(st.just(whole)), cases, test)


def test_the_long_suites_have_cases_enough() -> None:
    assert sum(CASES.values()) + DOCUMENT_CASES >= 20_000
