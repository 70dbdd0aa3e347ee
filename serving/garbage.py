"""Garbage collection of a server: pauses belong outside requests."""

from __future__ import annotations

import gc


def freeze_garbage() -> None:
    """Keep full garbage collections out of requests.

    Collect once, also what an earlier call left out; leave all objects that exist now out of later collections, and
    collect the oldest generation rarely.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
