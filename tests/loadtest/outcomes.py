"""Outcomes for tests that need some and send nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.verdict.outcome import Outcome


def outcome(latency_ms: float = 5.0, *, parts: Mapping[str, float] | None = None, **changes: Any) -> Outcome:
    """An answer of the screen, that left when it was due, with the server's `parts` as it would state them."""
    fields: dict[str, Any] = {"due_s": 0.0, "lag_ms": 0.0, "status": 200, "kind": "ok", "shape": "short", **changes}
    timing = ", ".join(f"{name};dur={value}" for name, value in (parts or {}).items())
    return Outcome(**{"timing": timing, "latency_ms": latency_ms, **fields})
