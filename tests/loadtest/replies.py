"""Outcomes for tests that need some and send nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loadtest.traffic.reply import KINDS, Reply


def reply(latency_ms: float = 5.0, *, parts: Mapping[str, float] | None = None, **changes: Any) -> Reply:
    """An answer of the screen, that left when it was due, with the server's `parts` as it would state them."""
    fields: dict[str, Any] = {"due_s": 0.0, "lag_ms": 0.0, "status": 200, "kind": "ok", "shape": "short", **changes}
    timing = ", ".join(f"{name};dur={value}" for name, value in (parts or {}).items())
    return Reply(**{"timing": timing, "latency_ms": latency_ms, **fields})


PARTS = {"read": 0.1, "screen": 1.0, "total": 2.0}


def of_every_kind() -> list[Reply]:
    kinds = np.random.default_rng(1).choice(KINDS, 3_000, p=[0.9, 0.04, 0.03, 0.02, 0.01])
    return [
        reply(5.0 + i % 50, due_s=i / 300, kind=kind, parts=PARTS if kind in ("ok", "degraded") else {})
        for i, kind in enumerate(kinds)
    ]
