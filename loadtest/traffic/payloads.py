"""The same image as JSON with base64, as a form and as a raw body: bytes on the way, and milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.workload import ENCODINGS, image_sample
from loadtest.verdict.figures import percentile


def compare_payloads(
    url: str, images: Sequence[bytes], *, rounds: int, budget_ms: float = 1000
) -> list[dict[str, Any]]:
    """One row for each encoding: mean `bytes`, median `latency_ms` with quartiles, and `read_ms`, the server's own time
    for the body. The encodings take turns with every image.
    """
    order = [encoding for _ in images for encoding in ENCODINGS] * rounds
    samples = [image_sample(data, encoding, budget_ms) for data in images for encoding in ENCODINGS] * rounds
    outcomes = ask_one_by_one(url, samples)
    rows = []
    for encoding in ENCODINGS:
        mine = [(s, o) for e, s, o in zip(order, samples, outcomes, strict=True) if e == encoding]
        answered = [o for _, o in mine if o.answered]
        latencies = [o.latency_ms for o in answered]
        rows.append(
            {
                "encoding": encoding,
                "requests": len(mine),
                "answered": len(answered),
                "bytes": round(sum(len(s.body) for s, _ in mine) / len(mine)),
                "latency_ms": _rounded(percentile(latencies, 0.5)),
                "lower_quartile_ms": _rounded(percentile(latencies, 0.25)),
                "upper_quartile_ms": _rounded(percentile(latencies, 0.75)),
                "read_ms": _rounded(percentile([o.parts().get("read", 0.0) for o in answered], 0.5)),
            }
        )
    return rows


def _rounded(value: float) -> float | None:
    return round(value, 4) if value == value else None
