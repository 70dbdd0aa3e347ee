"""Garbage collection of a server: pauses belong outside requests."""

from __future__ import annotations

import gc

_shared = False
"""Whether what is frozen is in memory that other processes use, too."""


def freeze_garbage() -> None:
    """Keep full garbage collections out of requests.

    Collect once, also what an earlier call left out; leave all objects that exist now out of later collections, and
    collect the oldest generation rarely. In a fork what was left out before stays so: a collection writes to each
    object that it looks at, and with it to memory that is shared until then.
    """
    if not _shared:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def share_garbage() -> None:
    """Leave all objects that exist now out of collections, in this process and in its forks."""
    global _shared
    gc.collect()
    gc.freeze()
    _shared = True
