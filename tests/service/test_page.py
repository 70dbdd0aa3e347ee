"""The page at `/` and the API reference, in a headless Chromium, against the served process."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Route

from tests.browser import SCHEMES, WIDTHS, Visit, needs_chromium, picture, visit
from tests.commands import needs_curl
from tests.server import LIMIT_S, PATIENT_MS, Server, in_full
from tests.service.test_api import TEXTS, digit, expect_error

pytestmark = needs_chromium
ANSWER, PROBLEM, SEND = "#answer:not([hidden])", "#problem:not([hidden])", "#send:not([disabled])"
NAME, SAID = ".bar > span:first-child", ".bar > span:last-child"


@pytest.fixture
def opened(browser: Browser, server: Server) -> Iterator[Visit]:
    """The page, once it has asked what is served. It asks no other host, and the browser has nothing to complain of."""
    with visit(browser, server.url) as page:
        page.page.wait_for_selector("#models section")
        page.page.wait_for_selector("#curl:not(:empty)")
        yield page
        assert page.hosts == {urlsplit(server.url).netloc}
        # The browser notes each answer with an error status.
        assert [said for said in page.complaints if not said.startswith("Failed to load resource")] == []


@pytest.fixture
def sure_text(client: httpx.Client) -> tuple[str, dict[str, Any]]:
    """A text that the screen is sure of, and its answer: no load degrades it."""
    asked = ((text, in_full(client, "/classify_text", json={"text": text, "budget_ms": PATIENT_MS})) for text in TEXTS)
    return next((text, reply.json()) for text, reply in asked if reply.json()["stage"] == "screen")


def answered(page: Visit, send: str = "") -> str:
    """What the page says of the answer. On a busy machine it is asked again, as its visitor would."""
    end_s = time.monotonic() + LIMIT_S
    if send:
        page.page.press(send, "Control+Enter")
    while True:
        page.page.wait_for_selector(SEND)
        if page.page.is_visible(ANSWER):
            return page.text("#summary")
        assert time.monotonic() < end_s, page.text("body")
        page.page.click("#send")


def shares(page: Visit) -> dict[str, float]:
    """The scores, as the page shows them."""
    names, said = (page.page.locator(f"#scores {part}").all_inner_texts() for part in (NAME, SAID))
    return {name: float(text.removesuffix(" %")) for name, text in zip(names, said, strict=True)}


def test_a_text_gets_the_answer_that_the_api_gives(opened: Visit, sure_text: tuple[str, dict[str, Any]]) -> None:
    text, answer = sure_text
    opened.page.fill("#text", text)
    opened.page.fill("#budget", str(PATIENT_MS))
    said = answered(opened, "#text")
    assert said.startswith(f"{answer['label']} {100 * answer['confidence']:.1f} %, by the screen")
    assert shares(opened) == pytest.approx({label: 100 * score for label, score in answer["scores"].items()}, abs=0.06)
    assert opened.text("#scores .best > span").startswith(answer["label"])
    parts = opened.page.locator(f"#parts {NAME}").all_inner_texts()
    assert parts == ["network", "wait", "admission", "read", "tokenise", "screen", "encode"]


def test_an_image_is_dropped_or_chosen(opened: Visit, client: httpx.Client, tmp_path: Path) -> None:
    answer = in_full(client, f"/classify_image?budget_ms={PATIENT_MS}", files={"image": digit(0)}).json()
    opened.page.check("input[value=image]")
    opened.page.fill("#budget", str(PATIENT_MS))
    opened.drop("#drop", digit(0), "zero.png")
    label = answered(opened).split()[0]
    if opened.page.get_attribute("#summary", "data-stage") == answer["stage"]:  # else it came too late for the expert
        assert label == answer["label"]
    assert opened.text("#file-name") == "zero.png"
    assert opened.page.is_visible("#preview")
    one = tmp_path / "one.png"
    one.write_bytes(digit(1))
    opened.page.set_input_files("#file", one)
    answered(opened)
    assert opened.text("#file-name") == "one.png"
    assert "image=@one.png" in opened.text("#curl")


def test_the_keyboard_is_enough(opened: Visit) -> None:
    page = opened.page
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "kind":
            break
    page.keyboard.press("Tab")
    page.keyboard.type("where is my refund")
    passed = []
    for _ in range(3):
        page.keyboard.press("Tab")
        passed.append(page.evaluate("document.activeElement.id"))
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring == "solid", "the focus is visible"
    assert passed == ["budget", "priority", "send"]
    page.keyboard.press("Enter")
    assert answered(opened)
    assert page.get_attribute("#summary", "role") == "status", "a screen reader says it"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "copy"
    page.keyboard.press("Enter")
    page.wait_for_selector("#copied:not(:empty)")
    for _ in range(5):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"


def test_an_error_is_shown_as_the_service_words_it(opened: Visit, client: httpx.Client) -> None:
    for budget, text, field in (("0", "hello", "budget_ms"), ("5000", "hello", "budget_ms"), ("50", "  ", "text")):
        opened.page.fill("#text", text)
        opened.page.fill("#budget", budget)
        reply = client.post("/classify_text", json={"text": text, "budget_ms": float(budget)})
        expect_error(reply, 422, field, "must")
        opened.page.click("#send")
        opened.page.get_by_role("alert").get_by_text(reply.json()["error"]["message"]).wait_for()
        assert opened.text("#problem") == f"422 {reply.json()['error']['message']}"


@needs_curl
def test_its_curl_line_asks_the_same(opened: Visit, sure_text: tuple[str, dict[str, Any]]) -> None:
    text, answer = sure_text
    for said in (text, "it's 'so' \"odd\" \\ $HOME `x`"):
        opened.page.fill("#text", said)
        opened.page.fill("#budget", str(PATIENT_MS))
        opened.page.select_option("#priority", "high")
        line = opened.text("#curl")
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True)
        got = json.loads(done.stdout)
        assert "label" in got or got["error"]["reason"] == "overloaded", got
        assert said != text or got.get("label", answer["label"]) == answer["label"]
    assert "X-Priority: high" in line


def test_it_says_what_models_says(opened: Visit, client: httpx.Client) -> None:
    described = client.get("/models").json()
    for kind in ("text", "image"):
        card = opened.text(f"#models [data-kind={kind}]")
        point = described[kind]["operating_point"]
        assert point["promise"]["statement"] in card
        assert {described[kind][role]["tag"] in card for role in ("screen", "expert")} == {True}
        assert ", ".join(described[kind]["screen"]["labels"]) in card
        assert re.search(r"Audit\s+(holds|undecided|broken): \d+ audited", card)
        assert re.search(r"Drift\s+(too few items|none|drifted)", card)


def test_it_shows_all_kinds_of_answers(opened: Visit) -> None:
    page, given = opened.page, itertools.count()
    item = {"labels": [], "confidence": 0.6, "scores": {"a": 0.4}, "stage": "screen", "degraded": "down"}
    whole = {**item, "escalated": True, "truncated": True, "models": {}, "request_id": "r", "timings_ms": {"total": 1}}
    busy = {"error": {"field": None, "message": "too many requests are in flight", "reason": "overloaded"}}
    replies: list[dict[str, Any]] = [
        {"json": whole},
        {"status": 503, "json": busy, "headers": {"Retry-After": "1"}},
        {"status": 504, "body": "<html>gateway</html>"},
    ]
    said = [
        ("#summary", "no label 60.0 %, by the screen as a fallback: the expert cannot be reached"),
        ("#problem", "503 too many requests are in flight (Retry-After: 1 s)"),
        ("#problem", "504 an answer that is not JSON, so it came from something in front of the service"),
    ]
    page.route("**/classify_text", lambda route: route.fulfill(**replies[next(given)]))
    for place, text in said:
        page.fill("#text", "hello")
        page.press("#text", "Control+Enter")
        page.wait_for_selector(f"{place}:not([hidden])")
        page.wait_for_selector(SEND)
        assert page.inner_text(place).startswith(text)


@contextmanager
def told_of(browser: Browser, server: Server, changed: Callable[[Any], Any]) -> Iterator[tuple[Visit, list[Any]]]:
    """The page where `changed` gives what it is told of the models, and what it sends; it is always refused."""
    sent: list[Any] = []

    def described(route: Route) -> None:
        route.fulfill(json=changed(httpx.get(f"{server.url}/models").json()))

    def took(route: Route) -> None:
        sent.append(route.request.post_data_json)
        route.fulfill(status=503, json={"error": {"message": "busy"}})

    with visit(browser, "about:blank") as page:
        page.page.route("**/models", described)
        page.page.route("**/classify_text", took)
        page.page.goto(server.url)
        yield page, sent


def test_a_cascade_for_pairs_gets_a_second_text(browser: Browser, server: Server) -> None:
    def pairs(models: Any) -> Any:
        return {**models, "text": {**models["text"], "pairs": True}}

    with told_of(browser, server, pairs) as (page, sent):
        page.page.fill("#text-pair", "two")
        page.page.fill("#text", "one")
        page.page.press("#text", "Control+Enter")
        page.page.wait_for_selector(PROBLEM)
    assert sent == [{"text": "one", "text_pair": "two"}]


def test_one_of_several_cascades_can_be_chosen(browser: Browser, server: Server) -> None:
    def several(models: Any) -> Any:
        return {**models, "others": [{**models["text"], "name": "second"}]}

    with told_of(browser, server, several) as (page, sent):
        page.page.wait_for_selector("#which:not([hidden])")
        assert page.page.locator("#models h2").all_inner_texts() == ["Texts: tiny-text", "Images", "Texts: second"]
        page.page.select_option("#model", "second")
        page.page.fill("#text", "one")
        assert '"model":"second"' in page.text("#curl")
        page.page.press("#text", "Control+Enter")
        page.page.wait_for_selector(PROBLEM)
        page.page.check("input[value=image]")
        assert not page.page.is_visible("#which"), "there is one for images"
    assert sent == [{"text": "one", "model": "second"}]


def test_it_looks_good_on_a_phone_and_in_the_dark(opened: Visit) -> None:
    opened.page.fill("#text", TEXTS[0])
    opened.page.fill("#budget", str(PATIENT_MS))
    answered(opened, "#text")
    opened.keep_pictures("page")
    grounds = set()
    for scheme in SCHEMES:
        opened.page.emulate_media(color_scheme=scheme)
        grounds.add(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == len(SCHEMES)
    assert all(picture("page", width, scheme).stat().st_size > 10_000 for width in WIDTHS for scheme in SCHEMES)


def test_the_reference_shows_every_address_and_asks_no_other_host(browser: Browser, server: Server) -> None:
    with visit(browser, f"{server.url}/reference") as page:
        page.page.wait_for_selector(".opblock")
        shown = {path.replace("\u200b", "") for path in page.page.locator(".opblock-summary-path").all_inner_texts()}
        assert shown == set(httpx.get(f"{server.url}/docs.json").json()["paths"])
        page.page.click("#operations-classify-classify_text .opblock-summary-control")
        page.page.wait_for_selector("#operations-classify-classify_text .parameters")
        page.keep_pictures("reference", whole=False)
        assert page.hosts == {urlsplit(server.url).netloc}
        assert page.complaints == []
