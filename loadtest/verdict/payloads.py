"""What serialization costs, for one kind of item sent in one way, and the table that compares the ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from loadtest.traffic.reply import Reply
from loadtest.verdict.percentiles import percentile

Kind = Literal["text", "image"]
Work = Literal["client_encode_us", "server_read_us", "server_encode_us", "client_read_us"]
WORK: dict[Work, str] = {
    "client_encode_us": "client encodes",
    "server_read_us": "server reads",
    "server_encode_us": "server encodes",
    "client_read_us": "client reads",
}
"""The microseconds of a row in the order in which they pass, and what pages call them."""
NAMES = {
    "raw": "raw body",
    "multipart": "form",
    "json": "JSON",
    "json image": "JSON, base64",
    "oip-json": "OIP, JSON",
    "oip-json image": "OIP, JSON, base64",
    "oip-binary": "OIP, binary",
    "grpc": "OIP, gRPC",
}
COLUMNS = ("one", "as", "bytes sent", "received", *(f"{name}, µs" for name in WORK.values()), "whole, ms")


class PayloadRow(TypedDict):
    """The same items, texts or images, sent in one way: means of bytes, medians of times; None where no answer came.

    Bytes are those of bodies and messages, without headers and frames. The client's microseconds are from an item to a
    body, and from a body to the fields of an answer. The server's are its parts `read` and `encode`, in which the body
    arrives, is read and checked, and the answer is written. `latency_ms` is the whole, as the client sees it.
    """

    item: Kind
    encoding: str
    requests: int
    answered: int
    sent_bytes: int
    received_bytes: int | None
    client_encode_us: float | None
    server_read_us: float | None
    server_encode_us: float | None
    client_read_us: float | None
    latency_ms: float | None
    lower_quartile_ms: float | None
    upper_quartile_ms: float | None


def payload_row(
    item: Kind, encoding: str, replies: Sequence[Reply], *, sent_bytes: Sequence[int], encode_us: Sequence[float]
) -> PayloadRow:
    """The row of these replies, for requests of so many bytes, which the client took so long to make."""
    answered = [reply for reply in replies if reply.answered]
    latencies = [reply.latency_ms for reply in answered]
    parts = [reply.parts() for reply in answered]
    return {
        "item": item,
        "encoding": encoding,
        "requests": len(replies),
        "answered": len(answered),
        "sent_bytes": round(sum(sent_bytes) / len(sent_bytes)),
        "received_bytes": round(sum(r.received_bytes for r in answered) / len(answered)) if answered else None,
        "client_encode_us": _median(encode_us, 1),
        "server_read_us": _median([1e3 * each["read"] for each in parts if "read" in each], 1),
        "server_encode_us": _median([1e3 * each["encode"] for each in parts if "encode" in each], 1),
        "client_read_us": _median([reply.reading_us for reply in answered], 1),
        "latency_ms": _median(latencies, 4),
        "lower_quartile_ms": _rounded(percentile(latencies, 0.25), 4),
        "upper_quartile_ms": _rounded(percentile(latencies, 0.75), 4),
    }


def name_of(encoding: str, item: str) -> str:
    """What pages call a way to send this kind of item."""
    return NAMES.get(f"{encoding} {item}") or NAMES[encoding]


def cells(row: PayloadRow) -> list[str]:
    """A row of the table, under COLUMNS."""
    received = "" if row["received_bytes"] is None else f"{row['received_bytes']:,}"
    work = ["" if row[key] is None else f"{row[key]:.0f}" for key in WORK]
    whole = "no answer"
    if row["latency_ms"] is not None:
        whole = f"{row['latency_ms']:.2f} ({row['lower_quartile_ms']:.2f} to {row['upper_quartile_ms']:.2f})"
    return [row["item"], name_of(row["encoding"], row["item"]), f"{row['sent_bytes']:,}", received, *work, whole]


def table(rows: Sequence[PayloadRow]) -> str:
    """The rows in Markdown."""
    lines = [list(COLUMNS), ["---", "---", *["---:"] * (len(COLUMNS) - 2)], *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _median(values: Sequence[float], digits: int) -> float | None:
    return _rounded(percentile(values, 0.5), digits)


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if value == value else None
