"""Which requests are of high priority: those that say so and, if a proof is set, have it."""

from __future__ import annotations

import time

import pytest
from starlette.requests import Request

from serving.errors import InvalidInputError, RightMissingError, SettingsError
from serving.http.guard import Enter, Guard
from serving.http.keys import SCOPE_KEY, Key
from serving.http.priority import PriorityRule
from serving.load.admission import Admission
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from serving.watch.record import RequestRecord
from tests.serving.asgi import post, posting

HIGH = {"X-Priority": "high"}


def asking(
    headers: dict[str, str] | None = None, raw: list[tuple[bytes, bytes]] | None = None, **more: object
) -> Request:
    """A request with these headers."""
    sent = raw or [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return Request({"type": "http", "headers": sent, **more})


def test_without_a_proof_every_client_may_say_so() -> None:
    rule = PriorityRule()
    assert rule(asking(HIGH)) == "high"
    assert rule(asking({"X-Priority": "normal"})) == rule(asking({})) == "normal"


@pytest.mark.parametrize(
    ("proof", "sent", "priority"),
    [
        ("X-Priority-Key: s3cret, with a space", {"x-priority-key": "s3cret, with a space"}, "high"),
        ("x-envoy-internal:true", {"X-Envoy-Internal": "true"}, "high"),
        ("X-Priority-Key: s3cret", {}, "normal"),
        ("X-Priority-Key: s3cret", {"X-Priority-Key": ""}, "normal"),
        ("X-Priority-Key: s3cret", {"X-Priority-Key": "s3cre"}, "normal"),
        ("X-Priority-Key: s3cret", {"X-Priority-Key": "näh"}, "normal"),
        ("X-Priority-Key: s3cret", {"X-Other-Key": "s3cret"}, "normal"),
    ],
    ids=["a secret", "a mark", "none", "empty", "a part", "not ASCII", "another header"],
)
def test_with_a_proof_only_who_has_it(proof: str, sent: dict[str, str], priority: str) -> None:
    rule = PriorityRule(proof)
    assert rule(asking({**HIGH, **sent})) == priority
    assert rule(asking(sent)) == "normal", "the proof alone asks for nothing"


def test_of_two_such_headers_the_first_counts_so_that_a_client_cannot_try_many() -> None:
    twice = [(b"x-priority", b"high"), (b"x-priority-key", b"a guess"), (b"x-priority-key", b"s3cret")]
    assert PriorityRule("X-Priority-Key: s3cret")(asking(raw=twice)) == "normal"


@pytest.mark.parametrize("proof", ["X-Priority-Key", ": s3cret", "X Key: s3cret", "X-Key:", "X-Key: a\nX-Other: b"])
def test_a_proof_that_is_no_header_line_is_refused_without_its_value(proof: str) -> None:
    with pytest.raises(SettingsError, match="SIEVE_PRIORITY_HEADER: must be one header line") as caught:
        PriorityRule(proof)
    assert "s3cret" not in str(caught.value)


def test_another_value_is_refused_without_being_repeated() -> None:
    with pytest.raises(InvalidInputError, match="must be high or normal") as caught:
        PriorityRule()(asking({"X-Priority": "urgent"}))
    assert "urgent" not in str(caught.value)


def test_a_request_may_state_it_in_another_place() -> None:
    rule = PriorityRule("X-Key: s3cret")
    assert rule.stated("high", asking({"X-Key": "s3cret"}), "parameters.priority") == "high"
    assert rule.stated("high", asking({}), "parameters.priority") == "normal"
    with pytest.raises(InvalidInputError, match=r"^parameters\.priority: must be high or normal"):
        rule.stated(1, asking({}), "parameters.priority")


def test_where_requests_bring_a_key_high_priority_is_a_right_of_it() -> None:
    may, may_not = Key("own", b"", ["classify", "high-priority"]), Key("shop", b"", ["classify"])
    rule, proved = PriorityRule(), PriorityRule("X-Key: s3cret")
    assert rule(asking(HIGH, **{SCOPE_KEY: may})) == "high"
    assert rule(asking({}, **{SCOPE_KEY: may_not})) == "normal"
    assert proved(asking(HIGH, **{SCOPE_KEY: may})) == "normal", "the proof is asked for, too"
    for each in (rule, proved):
        with pytest.raises(RightMissingError, match="a key with the right high-priority"):
            each(asking({**HIGH, "X-Key": "s3cret"}, **{SCOPE_KEY: may_not}))


def test_the_last_places_are_for_those_who_have_the_proof(metrics: Metrics) -> None:
    async def answering(_request: Request, _record: RequestRecord, enter: Enter) -> dict[str, object]:
        enter()
        return {}

    admission = Admission(10)
    guard = Guard(Observer(metrics), admission, PriorityRule("X-Priority-Key: s3cret"))
    app = posting(guard.limited("/work", answering))
    now_s = time.monotonic()
    for _ in range(9):
        assert admission.enter("normal", now_s, now_s) is None
    guessed, proved = {**HIGH, "X-Priority-Key": "a guess"}, {**HIGH, "X-Priority-Key": "s3cret"}
    assert [post(app, headers=headers).status_code for headers in (HIGH, guessed, proved)] == [503, 503, 200]
