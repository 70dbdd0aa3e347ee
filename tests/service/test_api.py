"""The API over HTTP, against the served process."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from optimize.data.payments import generate
from serving.cascade.deferral import OperatingPoint
from serving.http.api import METHODS
from serving.model.answer import answers_from_logits
from serving.model.artifact import Artifact
from serving.model.preprocess import preprocessor
from serving.model.session import Session
from serving.oip.rest import METHODS as OIP_METHODS
from tests.conftest import TinyCascades, messages
from tests.server import PATIENT_MS, Server, in_full, in_full_async
from tests.serving.model.test_image import animation, encoded, enormous, noise

# One open matter, as in the training data, and by turns two or three matters, which it never saw.
TEXTS = [text for pair in zip(messages(32, seed=9), generate(32, seed=99), strict=True) for text, _ in pair]


def digit(index: int) -> bytes:
    pixels = (load_digits().images[index] * (255 / 16)).round().astype(np.uint8)
    return encoded(Image.fromarray(pixels))


class Reference:
    """The cascade computed in this process from the same artifacts, one item at a time."""

    def __init__(self, cascades: TinyCascades, name: str) -> None:
        self.parts = {}
        for role in ("screen", "expert"):
            artifact = Artifact.open(cascades.artifact(name, role))
            self.parts[role] = (Session(artifact), preprocessor(artifact), artifact.manifest.labels)
        self.point = OperatingPoint.read(cascades.artifact(name, "operating-point"))

    def answer(self, role: str, content: Any) -> Any:
        session, preprocess, labels = self.parts[role]
        item = preprocess.encode(content) if isinstance(content, str) else preprocess.decode(content)
        temperature = self.point.screen_temperature if role == "screen" else self.point.expert_temperature
        return answers_from_logits(session.run(preprocess.collate([item])), labels, temperature)[0]

    def check(self, content: Any, got: dict[str, Any]) -> None:
        screen = self.answer("screen", content)
        assert got["escalated"] == (screen.confidence < self.point.threshold)
        assert got["stage"] == ("expert" if got["escalated"] and got["degraded"] is None else "screen")
        want = self.answer(got["stage"], content)
        np.testing.assert_allclose(list(got["scores"].values()), want.scores, atol=1e-4)
        assert got["confidence"] == max(got["scores"].values()) == got["scores"][got["label"]]


@pytest.fixture(scope="module")
def text_reference(tiny_cascades: TinyCascades) -> Reference:
    return Reference(tiny_cascades, "tiny-text")


@pytest.fixture(scope="module")
def image_reference(tiny_cascades: TinyCascades) -> Reference:
    return Reference(tiny_cascades, "tiny-image")


def test_a_text_gets_the_answer_that_the_models_give(client: httpx.Client, text_reference: Reference) -> None:
    stages = set()
    for text in TEXTS[:24]:
        reply = in_full(client, "/classify_text", json={"text": text, "budget_ms": PATIENT_MS})
        assert reply.status_code == 200
        body = reply.json()
        assert body["degraded"] is None
        text_reference.check(text, body)
        stages.add(body["stage"])
        assert set(body["models"]) == {"screen", "expert"}
        assert body["timings_ms"]["total"] >= body["timings_ms"]["screen"] > 0
        assert reply.headers["server-timing"].startswith("wait;dur=")
    assert stages == {"screen", "expert"}, "the sample holds both sure and unsure texts"


@pytest.mark.parametrize("how", ["multipart", "raw"])
def test_an_image_gets_the_answer_that_the_models_give(
    client: httpx.Client, image_reference: Reference, how: str
) -> None:
    for index in range(6):
        png = digit(index)
        if how == "multipart":
            files = {"image": ("d.png", png, "image/png")}
            reply = in_full(client, "/classify_image", files=files, data={"budget_ms": str(PATIENT_MS)})
        else:
            url = f"/classify_image?budget_ms={PATIENT_MS}"
            reply = in_full(client, url, content=png, headers={"content-type": "image/png"})
        assert reply.status_code == 200, reply.text
        image_reference.check(png, reply.json())


def test_a_bad_text_spoils_only_its_own_place(client: httpx.Client, text_reference: Reference) -> None:
    texts: list[Any] = [*TEXTS]
    texts[7], texts[40] = "  ", 5
    body = in_full(client, "/classify_texts", json={"texts": texts, "budget_ms": PATIENT_MS}).json()
    assert len(body["answers"]) == 64
    for place, (text, answer) in enumerate(zip(texts, body["answers"], strict=True)):
        if place in (7, 40):
            assert answer["error"]["field"] == f"texts[{place}]"
            assert "must" in answer["error"]["message"]
        else:
            text_reference.check(text, answer)


@pytest.mark.parametrize(
    ("body", "status", "field", "says"),
    [
        (b'{"text": ""}', 422, "text", "an empty string"),
        (b'{"text": "   "}', 422, "text", "white space"),
        (b'{"text": 5}', 422, "text", "a number"),
        (b"{}", 422, "text", "without it"),
        (json.dumps({"text": "x" * 20_001}).encode(), 422, "text", "20,000 characters"),
        (b'{"text": "\xff\xfe"}', 400, "body", "UTF-8"),
        (b'{"text": "\\ud800"}', 400, "body", "JSON"),
        (b'{"text": ', 400, "body", "JSON"),
        (b'["text"]', 400, "body", "JSON object"),
        (b'{"text": "hello", "butget_ms": 5}', 422, "body", "may have the keys"),
        (b'{"text": "hello", "budget_ms": 0}', 422, "budget_ms", "positive"),
        (b'{"text": "hello", "budget_ms": -3}', 422, "budget_ms", "positive"),
        (b'{"text": "hello", "budget_ms": "fast"}', 422, "budget_ms", "a string"),
        (b'{"text": "hello", "budget_ms": true}', 422, "budget_ms", "a boolean"),
    ],
)
def test_a_wrong_text_request_is_told_what_is_wrong(
    client: httpx.Client, body: bytes, status: int, field: str, says: str
) -> None:
    reply = client.post("/classify_text", content=body)
    expect_error(reply, status, field, says)


@pytest.mark.parametrize("texts", [[], ["a"] * 65, "text", None])
def test_a_wrong_list_is_refused(client: httpx.Client, texts: Any) -> None:
    expect_error(client.post("/classify_texts", json={"texts": texts}), 422, "texts", "a list of 1 to 64 strings")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"not an image", "JPEG, PNG, WebP, GIF, BMP or TIFF"),
        (encoded(noise())[:-40], "truncated"),
        (animation(), "animation"),
        (enormous(), "megapixels"),
        (b"\xff" * 10_000_001, "10,000,000 bytes"),
        (b"\xff" * 10_100_000, "bytes, got more"),
    ],
    ids=["empty", "text", "truncated", "animated", "megapixels", "bytes", "many-bytes"],
)
@pytest.mark.parametrize("how", ["multipart", "raw"])
def test_a_wrong_image_is_told_what_is_wrong(client: httpx.Client, data: bytes, says: str, how: str) -> None:
    if how == "multipart":
        reply = client.post("/classify_image", files={"image": ("x.png", data, "image/png")})
    else:
        reply = client.post("/classify_image", content=data, headers={"content-type": "image/png"})
    expect_error(reply, 413 if "bytes" in says and data else 422, "image", says)


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=x"])
def test_a_body_without_end_is_given_up(client: httpx.Client, kind: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(11):
            yield b"\xff" * 1_000_000

    # Sent in chunks, so that no header tells how much is coming.
    reply = client.post("/classify_image", content=pieces(), headers={"content-type": kind})
    expect_error(reply, 413, "image", "bytes, got more")


def test_other_ways_to_get_an_image_request_wrong(client: httpx.Client) -> None:
    expect_error(client.post("/classify_image", json={"image": "no base64!"}), 422, "image", "must be base64")
    expect_error(client.post("/classify_image", json={"image": 5}), 422, "image", "a string of base64, got a number")
    expect_error(client.post("/classify_image", json={"picture": ""}), 422, "body", "'picture'")
    expect_error(client.post("/classify_image", json={"image": "A" * 16_000_000}), 413, "body", "bytes, got more")
    expect_error(client.post("/classify_image", files={"photo": b"x"}), 422, "form", "photo")
    expect_error(client.post("/classify_image", data={"image": "x"}), 415, "image", "another content type")
    broken = {"content-type": "multipart/form-data; boundary=x"}
    expect_error(client.post("/classify_image", content=b"nonsense", headers=broken), 400, "body", "is broken")
    nowhere = {"content-type": "multipart/form-data"}
    expect_error(client.post("/classify_image", content=b"nonsense", headers=nowhere), 400, "body", "boundary")
    reply = client.post("/classify_image?budget_ms=soon", files={"image": digit(0)})
    expect_error(reply, 422, "budget_ms", "no number")


def expect_error(reply: httpx.Response, status: int, field: str, says: str) -> None:
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body["error"]["field"] == field
    assert says in body["error"]["message"]
    assert body["request_id"] == reply.headers["x-request-id"]
    assert "Traceback" not in reply.text
    assert 'File "' not in reply.text


def test_request_ids_are_kept_when_sound(client: httpx.Client) -> None:
    sound = client.post("/classify_text", json={"text": "hello"}, headers={"X-Request-Id": "order-17"})
    assert sound.json()["request_id"] == "order-17"
    unsound = client.post("/classify_text", json={"text": "hello"}, headers={"X-Request-Id": "a b"})
    assert unsound.json()["request_id"] != "a b"


def test_texts_in_any_language(client: httpx.Client) -> None:
    texts = ["Überweisung fehlt immer noch", "カードが使えません", "أين المال", "💳❌", "a\u0000b"]
    body = client.post("/classify_texts", json={"texts": texts}).json()
    assert all("label" in answer for answer in body["answers"])


def test_models_are_described(client: httpx.Client, tiny_cascades: TinyCascades) -> None:
    body = client.get("/models").json()
    for name in ("text", "image"):
        for role in ("screen", "expert"):
            artifact = Artifact.open(tiny_cascades.artifact(f"tiny-{name}", role))
            described = body[name][role]
            assert described["tag"].startswith(f"tiny-{name}-{role}:")
            assert described["digest"] == artifact.digest
            assert described["execution_provider"]["asked"] == "CPUExecutionProvider"
            assert described["execution_provider"]["got"] == "CPUExecutionProvider"
        point = body[name]["operating_point"]
        assert point["tag"].startswith(f"tiny-{name}-operating-point:")
        assert 0 <= point["threshold"] <= 1.1
        assert point["promise"]["statement"].startswith("certified: with confidence 95%")
        assert body[name]["drift"]["n"] >= 0


def test_openapi_lists_the_endpoints(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    assert set(document["paths"]) == {*METHODS, *OIP_METHODS, "/readyz", "/livez"} - {"/v2/"}
    references = json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    assert {reference.partition('"')[0] for reference in references} <= set(document["components"]["schemas"])


def test_bentoml_own_routes_stay(client: httpx.Client) -> None:
    assert client.get("/livez").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_many_mixed_clients_get_their_own_answers(server: Server, text_reference: Reference) -> None:
    async def ask_all() -> list[tuple[str, dict[str, Any]]]:
        async with server.async_client(64) as client:

            async def ask(index: int) -> tuple[str, dict[str, Any]]:
                text = TEXTS[index % len(TEXTS)]
                sent = {"text": text, "budget_ms": PATIENT_MS}
                ids = {"X-Request-Id": f"r{index}"}
                reply = await in_full_async(client, "/classify_text", json=sent, headers=ids)
                assert reply.json()["request_id"] == f"r{index}"
                return text, reply.json()

            return await asyncio.gather(*(ask(index) for index in range(512)))

    answers = asyncio.run(ask_all())
    for text, body in answers:
        text_reference.check(text, body)
    assert sum(body["stage"] == "expert" for _, body in answers) >= 20, "batches of the expert were looked at"


def test_a_file_that_only_claims_to_be_a_form(client: httpx.Client) -> None:
    file = io.BytesIO(digit(1))
    reply = client.post("/classify_image", files={"image": ("x.txt", file, "text/plain")})
    assert reply.status_code == 200, "what counts is the content, not what the client calls it"
