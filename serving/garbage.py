"""Garbage collection of a server: pauses belong outside requests."""

from __future__ import annotations

import gc


def settle() -> None:
    """Keep full garbage collections away from requests: what exists now stays, and young objects die young."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
