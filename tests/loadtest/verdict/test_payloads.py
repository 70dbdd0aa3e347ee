"""What serialization costs, from replies to a row, and its table."""

from __future__ import annotations

from loadtest.traffic.sample import ENCODINGS, PROTOCOLS
from loadtest.verdict.payloads import COLUMNS, name_of, payload_row, table
from tests.loadtest.replies import reply

PARTS = {"read": 0.05, "encode": 0.02, "total": 1.0}


def test_a_row_has_means_of_bytes_and_medians_of_times() -> None:
    replies = [
        reply(ms, parts={**PARTS, "read": ms / 100}, received_bytes=100 + number, reading_us=ms)
        for number, ms in enumerate((1.0, 2.0, 9.0))
    ]
    row = payload_row("text", "json", replies, sent_bytes=[10, 20, 30], encode_us=[3.0, 5.0, 40.0])
    assert (row["requests"], row["answered"], row["sent_bytes"], row["received_bytes"]) == (3, 3, 20, 101)
    assert (row["client_encode_us"], row["client_read_us"]) == (5, 2)
    assert (row["server_read_us"], row["server_encode_us"]) == (20, 20)
    assert (row["lower_quartile_ms"], row["latency_ms"], row["upper_quartile_ms"]) == (1, 2, 9)


def test_only_answers_have_times_and_a_server_may_tell_none() -> None:
    refused = reply(1.0, kind="failed", status=415, received_bytes=7)
    row = payload_row("image", "multipart", [refused], sent_bytes=[9], encode_us=[1.0])
    assert (row["answered"], row["sent_bytes"], row["received_bytes"], row["latency_ms"]) == (0, 9, None, None)
    silent = payload_row("text", "grpc", [reply(2.0)], sent_bytes=[9], encode_us=[1.0])
    assert (silent["latency_ms"], silent["server_read_us"], silent["server_encode_us"]) == (2, None, None)
    assert table([row, silent]).splitlines()[2:] == [
        "| image | form | 9 |  | 1 |  |  |  | no answer |",
        "| text | OIP, gRPC | 9 | 0 | 1 |  |  | 0 | 2.00 (2.00 to 2.00) |",
    ]


def test_every_way_has_a_name_and_the_table_its_columns() -> None:
    names = {name_of(each, "image") for each in (*ENCODINGS, *(set(PROTOCOLS) - {"rest"}))}
    assert len(names) == len(ENCODINGS) + len(PROTOCOLS) - 1
    assert name_of("json", "text") == "JSON"
    assert table([]).splitlines()[0].count("|") == len(COLUMNS) + 1
