"""One limit in bytes over what requests hold: their bodies, and the images that are decoded from them."""

from __future__ import annotations

# Bodies may hold this share of the limit. The rest is always there for decoding, which ends and frees its bodies.
BODY_SHARE = 0.5


class MemoryLimit:
    """Counts the bytes that requests hold, up to `capacity`. One event loop uses it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.body_bytes = self.work_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What all requests hold."""
        return self.body_bytes + self.work_bytes

    def take_body(self, count: int) -> bool:
        """Whether a body may hold `count` more bytes. If so, give them back with `give_body`."""
        if self.body_bytes + count > BODY_SHARE * self.capacity or self.held_bytes + count > self.capacity:
            return False
        self.body_bytes += count
        return True

    def give_body(self, count: int) -> None:
        """A body holds `count` bytes less."""
        self.body_bytes -= count

    def fits(self, count: int) -> bool:
        """Whether work may hold `count` bytes now."""
        return self.held_bytes + count <= self.capacity

    def begin_work(self, count: int) -> None:
        """Work holds `count` bytes from now on."""
        self.work_bytes += count

    def end_work(self, count: int) -> None:
        """Work holds these `count` bytes no more."""
        self.work_bytes -= count
