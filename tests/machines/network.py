"""Three machines on one: a network namespace for each, joined by a bridge; a cable that is pulled takes all packets."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

NET = "10.213.77"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Machine:
    """One of them: `address`, and what a command must begin with to run on it."""

    def __init__(self, namespace: str, address: str, cable: str) -> None:
        self.address, self.on_it, self._cable = address, ("ip", "netns", "exec", namespace), cable

    def cut_off(self) -> None:
        ip("link", "set", self._cable, "down")

    def join(self) -> None:
        ip("link", "set", self._cable, "up")


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """`count` machines that see each other and that this process sees."""
    mark = uuid.uuid4().hex[:5]
    bridge, namespaces, made = f"sv{mark}", [f"sieve-{mark}-{n}" for n in range(count)], []
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{NET}.254/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, namespace in enumerate(namespaces):
            cable, end, address = f"sv{mark}{number}", f"sv{mark}{number}e", f"{NET}.{number + 1}"
            ip("netns", "add", namespace)
            ip("link", "add", cable, "type", "veth", "peer", "name", end, "netns", namespace)
            ip("link", "set", cable, "master", bridge)
            ip("link", "set", cable, "up")
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", namespace, "link", "set", end, "up")
            ip("-n", namespace, "link", "set", "lo", "up")  # circus talks to itself there
            made.append(Machine(namespace, address, cable))
        yield made
    finally:
        for namespace in namespaces:
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True)


def possible() -> bool:
    """Whether this machine lets us: Linux with iproute2, and root that may."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"sieve-{uuid.uuid4().hex[:8]}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        return False
    return subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True).returncode == 0
