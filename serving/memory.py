"""How much memory this process may still take, by the limits that the kernel states."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

ReadText = Callable[[str], str | None]
"""The text of a file, None where it cannot be read."""

CGROUPS = "/sys/fs/cgroup"
UPLOAD_SHARE = 0.75
"""Uploads may take this share of what is free; the rest is for all else that grows."""


def read_text(path: str) -> str | None:
    """The text of a file, None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return None


def free_bytes(read: ReadText = read_text) -> int:
    """Bytes that are free within the tightest limit of this process.

    The limits: the machine's memory; `memory.max` (cgroup v2) or `memory.limit_in_bytes` (v1) of the process's cgroup
    and of those above it; RLIMIT_DATA and RLIMIT_AS. Files that the kernel can drop from its cache count as free.
    """
    return max(0, min([*_machine(read), *_cgroups(read), *_own_limits(read)]))


def upload_bytes(processes: int, cache_mb: int = 0) -> int:
    """The memory that uploads may take now in each of so many processes of the API.

    `cache_mb`: the megabytes that each of them is to have for answers that it keeps.
    """
    return int(UPLOAD_SHARE * max(0.0, free_bytes() / processes - cache_mb * 1e6))


def _machine(read: ReadText) -> Iterator[int]:
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", read("/proc/meminfo") or "", re.MULTILINE)
    yield 1024 * int(available[1]) if available else 1 << 30


def cgroup_folders(read: ReadText, controller: str) -> Iterator[str]:
    """The folders of this process's cgroup and of those above it, for a controller such as memory; of v1 and of v2."""
    for line in (read("/proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        parts = [part for part in path.split("/") if part]
        if number == "0" and not controllers:
            root = CGROUPS
        elif controller in controllers.split(","):
            root = f"{CGROUPS}/{controller}"
        else:
            continue
        # A container sees its own cgroup at the root, whatever path the host gives it.
        yield from (root + "".join(f"/{part}" for part in parts[:count]) for count in range(len(parts) + 1))


def _cgroups(read: ReadText) -> Iterator[int]:
    for folder in cgroup_folders(read, "memory"):
        yield from _cgroup(read, folder, "memory.max", "memory.current", "inactive_file")
        yield from _cgroup(read, folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _cgroup(read: ReadText, folder: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    stated, used = (read(f"{folder}/{name}") or "" for name in (limit, usage))
    if stated.strip().isdigit() and used.strip().isdigit():  # "max": no limit
        dropped = re.search(rf"^{cache} (\d+)$", read(f"{folder}/memory.stat") or "", re.MULTILINE)
        yield int(stated) - int(used) + (int(dropped[1]) if dropped else 0)


def _own_limits(read: ReadText) -> Iterator[int]:
    limits, status = read("/proc/self/limits") or "", read("/proc/self/status") or ""
    for name, size in (("data size", "VmData"), ("address space", "VmSize")):
        stated = re.search(rf"^Max {name}\s+(\d+)\s", limits, re.MULTILINE)
        used = re.search(rf"^{size}:\s+(\d+) kB$", status, re.MULTILINE)
        if stated and used:
            yield int(stated[1]) - 1024 * int(used[1])
