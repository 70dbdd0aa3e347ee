"""The same texts and images in every way to send them."""

from __future__ import annotations

from loadtest.measuring.payloads import Items, compare_payloads, ways
from loadtest.traffic.workload import generated_jpeg
from tests.loadtest.little_server import little_server, ok

ITEMS: Items = {
    "text": [{"text": "a"}, {"text": "ab", "text_pair": "c"}],
    "image": [generated_jpeg(seed, side=32) for seed in range(2)],
}
ANSWER = b'{"label": "ham", "outputs": [{"name": "label", "data": ["ham"]}]}'


def test_each_way_gets_every_item_in_every_round() -> None:
    seen = []
    with little_server(lambda body: seen.append(body) or (200, ANSWER, "read;dur=0.25, total;dur=1")) as url:  # type: ignore[func-returns-value]
        rows = compare_payloads(url, ITEMS, rounds=3)
    assert [(row["item"], row["encoding"]) for row in rows] == [
        *(("text", name) for name in ("json", "oip-json", "oip-binary")),
        *(("image", name) for name in ("raw", "multipart", "json", "oip-json", "oip-binary")),
    ]
    assert len(seen) == 4 * 2 * len(rows), "a round more, to warm up"
    for row in rows:
        assert row["requests"] == 6
        if row["encoding"] == "oip-binary":
            assert row["answered"] == 0, "an answer in JSON has no binary tensors"
            continue
        assert row["answered"] == 6
        assert (row["server_read_us"], row["received_bytes"]) == (250, len(ANSWER))
        assert row["client_read_us"] > 0
        assert row["lower_quartile_ms"] <= row["latency_ms"] <= row["upper_quartile_ms"]
    of_image = {row["encoding"]: row["sent_bytes"] for row in rows if row["item"] == "image"}
    assert of_image["raw"] == round(sum(map(len, ITEMS["image"])) / 2)
    assert of_image["raw"] < of_image["multipart"] < of_image["json"]
    assert of_image["raw"] < of_image["oip-binary"] < of_image["oip-json"]


def test_grpc_is_compared_where_its_server_is_known() -> None:
    assert "grpc" not in ways("text", "")
    assert ways("image", "127.0.0.1:8001")["grpc"].grpc == "127.0.0.1:8001"
    with little_server(lambda _: ok()) as url:
        rows = compare_payloads(url, {"text": [{"text": "a"}]}, grpc="127.0.0.1:1", rounds=1)
    assert [(row["encoding"], row["answered"]) for row in rows][-1] == ("grpc", 0)


def test_a_way_that_is_refused_has_no_time() -> None:
    with little_server(lambda body: ok() if body.startswith(b"\xff\xd8") else (415, b"{}")) as url:
        raw, form, *_ = compare_payloads(url, {"image": ITEMS["image"]}, rounds=1)
    assert raw["latency_ms"] is not None
    assert (form["answered"], form["latency_ms"], form["server_read_us"]) == (0, None, None)
