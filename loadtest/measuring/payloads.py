"""What serialization costs: the same texts and images sent in every way, in bytes, and in microseconds of both ends."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.credentials import NO_CREDENTIALS, Credentials
from loadtest.traffic.sample import ENCODINGS, Sample, Way, image_sample, text_sample
from loadtest.traffic.workload import Item
from loadtest.verdict.payloads import Kind, PayloadRow, payload_row

Items = Mapping[Kind, Sequence[Item | bytes]]
"""Texts and image files, by their kind."""
BUDGET_MS = 1_000.0


class Made(NamedTuple):
    """A sample, and the microseconds that it took to make it."""

    sample: Sample
    took_us: float


def ways(kind: Kind, grpc: str) -> dict[str, Way]:
    """Each way to send an item of this kind, by its name; over gRPC where a server is known, as HOST:PORT."""
    own: dict[str, Way] = {"json": Way()}
    if kind == "image":
        own = {name: Way(encoding=name) for name in ENCODINGS}
    inference = {"oip-json": Way(protocol="oip-json"), "oip-binary": Way(protocol="oip-binary")}
    return {**own, **inference, **({"grpc": Way(protocol="grpc", grpc=grpc)} if grpc else {})}


def make(item: Item | bytes, way: Way) -> Made:
    """An item as it is sent this way, with time enough for any answer."""
    begin_s = time.perf_counter()
    sample = image_sample(item, way, BUDGET_MS) if isinstance(item, bytes) else text_sample(item, way, BUDGET_MS)
    return Made(sample, (time.perf_counter() - begin_s) * 1e6)


def compare_payloads(
    url: str, items: Items, *, grpc: str = "", rounds: int, credentials: Credentials = NO_CREDENTIALS
) -> list[PayloadRow]:
    """One row for each kind and way. Each item is sent in all ways in turn, one request at a time, in each round."""
    rows = []
    for kind, of_kind in items.items():
        each_way = ways(kind, grpc)
        turn = [(name, item) for item in of_kind for name in each_way]
        # One round more: the first opens connections and fills caches, and is left out.
        sent = [(name, make(item, each_way[name])) for name, item in turn * (rounds + 1)]
        replies = ask_one_by_one(url, [made.sample for _, made in sent], credentials=credentials)
        counted = list(zip(sent, replies, strict=True))[len(turn) :]
        for name in each_way:
            own = [(made, reply) for (of, made), reply in counted if of == name]
            rows.append(
                payload_row(
                    kind,
                    name,
                    [reply for _, reply in own],
                    sent_bytes=[len(made.sample.body) for made, _ in own],
                    encode_us=[made.took_us for made, _ in own],
                )
            )
    return rows
