"""The same images as raw bodies, as forms, and as base64 in JSON: bytes sent, and milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.reply import Reply
from loadtest.traffic.workload import ENCODINGS, Encoding, Sample, image_sample
from loadtest.verdict.percentiles import percentile
from loadtest.verdict.result import PayloadRow


def compare_payloads(url: str, images: Sequence[bytes], *, rounds: int, budget_ms: float = 1000) -> list[PayloadRow]:
    """One row for each encoding. Each image is sent in all encodings in turn, one request at a time, in each round."""
    order = [encoding for _ in images for encoding in ENCODINGS] * rounds
    samples = [image_sample(data, encoding, budget_ms) for data in images for encoding in ENCODINGS] * rounds
    sent = list(zip(order, samples, ask_one_by_one(url, samples), strict=True))
    return [_row(encoding, [(s, reply) for e, s, reply in sent if e == encoding]) for encoding in ENCODINGS]


def _row(encoding: Encoding, sent: Sequence[tuple[Sample, Reply]]) -> PayloadRow:
    answered = [reply for _, reply in sent if reply.answered]
    latencies = [reply.latency_ms for reply in answered]
    return {
        "encoding": encoding,
        "requests": len(sent),
        "answered": len(answered),
        "bytes": round(sum(len(sample.body) for sample, _ in sent) / len(sent)),
        "latency_ms": _rounded(percentile(latencies, 0.5)),
        "lower_quartile_ms": _rounded(percentile(latencies, 0.25)),
        "upper_quartile_ms": _rounded(percentile(latencies, 0.75)),
        "read_ms": _rounded(percentile([reply.parts().get("read", 0.0) for reply in answered], 0.5)),
    }


def _rounded(value: float) -> float | None:
    return round(value, 4) if value == value else None
