"""What all processes that share a folder have counted, in the text format that Prometheus reads."""

from __future__ import annotations

import os
from pathlib import Path


def remove_dead_gauges(folder: Path | None) -> None:
    """Remove the live gauges of processes that have ended from the folder that prometheus_client shares."""
    from prometheus_client import multiprocess

    if folder is None:
        return
    for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
        if not _alive(int(pid)):
            multiprocess.mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]  # no types


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def exposition(folder: Path | None) -> tuple[bytes, str]:
    """What all processes that share `folder` have counted, in Prometheus's text format, and its content type."""
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

    registry = REGISTRY
    remove_dead_gauges(folder)
    if folder is not None:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # no types
    return generate_latest(registry), CONTENT_TYPE_LATEST
