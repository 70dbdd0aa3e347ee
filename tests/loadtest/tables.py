"""Tables for tests that simulate and measure nothing."""

from __future__ import annotations

from loadtest.queueing.simulation import Item, Tables


def tables(api_ms: float = 2.0, expert_ms: float = 5.0, share: float = 0.0, **changes: object) -> Tables:
    items = [Item(api_ms, expert_ms if place < 100 * share else None) for place in range(100)]
    plain = {
        "items": items,
        "network_ms": 0.0,
        "batch_ms": {1: 5.0, 32: 80.0},
        "hop_ms": 1.0,
        "wake_ms": 0.0,
        "cores": 64,
    }
    return Tables(**{**plain, **changes})  # type: ignore[arg-type]
