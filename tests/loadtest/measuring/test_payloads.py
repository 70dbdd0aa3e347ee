"""The same images in three encodings."""

from __future__ import annotations

from loadtest.measuring.payloads import compare_payloads
from loadtest.traffic.workload import generated_jpeg
from tests.loadtest.little_server import little_server, ok


def test_each_encoding_gets_every_image_in_every_round() -> None:
    images = [generated_jpeg(seed, side=32) for seed in range(2)]
    with little_server(lambda _: (*ok(), "read;dur=0.25, total;dur=1")) as url:
        rows = compare_payloads(url, images, rounds=3)
    assert [row["encoding"] for row in rows] == ["raw", "multipart", "json"]
    for row in rows:
        assert row["requests"] == row["answered"] == 6
        assert row["read_ms"] == 0.25
        assert row["lower_quartile_ms"] <= row["latency_ms"] <= row["upper_quartile_ms"]
    assert rows[0]["bytes"] == round(sum(map(len, images)) / 2)
    assert rows[0]["bytes"] < rows[1]["bytes"]


def test_an_encoding_that_is_refused_has_no_time() -> None:
    with little_server(lambda body: ok() if body.startswith(b"\xff\xd8") else (415, b"{}")) as url:
        raw, form, _ = compare_payloads(url, [generated_jpeg(1, side=32)], rounds=1)
    assert raw["latency_ms"] is not None
    assert (form["answered"], form["latency_ms"], form["read_ms"]) == (0, None, None)
