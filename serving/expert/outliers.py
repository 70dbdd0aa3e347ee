"""Which of the machines behind one name is far slower than the others, or fails, and is left alone for a while.

Pure: the caller passes the time, in seconds of a monotonic clock.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

# The quickest of a machine's last calls counts: a hiccup is no verdict.
LAST, LEAST = 8, 4
SLOWER, SLOWER_S = 4.0, 0.005
FAILED_S = 2.0
"""What a call that failed counts as: longer than anybody waits for one."""
FIRST_REST_S, LONGEST_REST_S = 5.0, 60.0


class _Call(NamedTuple):
    took_s: float
    per_byte_s: float


@dataclass(slots=True)
class _Machine:
    rest_s: float
    rests_until_s: float = 0.0
    best: _Call | None = None
    calls: deque[_Call] = field(default_factory=lambda: deque(maxlen=LAST))

    @property
    def known(self) -> bool:
        return len(self.calls) >= LEAST

    def quickest(self) -> _Call:
        return _Call(min(call.took_s for call in self.calls), min(call.per_byte_s for call in self.calls))


class Outliers:
    """The machines behind one name, by their addresses.

    A machine rests when the quickest of its last calls took more than SLOWER times as long as that of the others in the
    middle, or as its own ever where nothing is known of the others: as a whole and for each byte, since calls have few
    items or many, and on some machines that makes little difference. As a whole it must also be SLOWER_S slower; nobody
    minds less.

    Then the machine is tried again, as if nothing was known of it. Each rest that follows another one is twice as long,
    up to LONGEST_REST_S. A machine whose others all rest goes on.
    """

    def __init__(self, first_rest_s: float = FIRST_REST_S) -> None:
        self._first_rest_s = first_rest_s
        self._addresses: Collection[str] = ()
        self._machines: dict[str, _Machine] = {}

    def only(self, addresses: Collection[str]) -> None:
        """The addresses that the name has now; what is known of others is forgotten."""
        self._addresses = addresses
        self._machines = {address: known for address, known in self._machines.items() if address in addresses}

    def rests(self, address: str, now_s: float) -> bool:
        """Whether the machine is to be left alone now."""
        machine = self._machines.get(address)
        return machine is not None and now_s < machine.rests_until_s

    def ended(self, address: str, size: int, took_s: float, now_s: float, *, failed: bool) -> float:
        """Count a call of `size` bytes that a machine answered, failed at, or was given up on.

        Returns for how many seconds the machine rests from now on, because of this call; 0 if it does not.
        """
        machine = self._machines.setdefault(address, _Machine(self._first_rest_s))
        took_s = max(took_s, FAILED_S) if failed else took_s
        machine.calls.append(_Call(took_s, took_s / size))
        goes_on = any(other != address and not self.rests(other, now_s) for other in self._addresses)
        if not machine.known or not goes_on or self.rests(address, now_s):
            return 0.0
        own, usual = machine.quickest(), self._usual(address, now_s)
        machine.best = own if machine.best is None else _Call(*map(min, own, machine.best))
        if usual is None or not _is_slow(own, usual):
            machine.rest_s = self._first_rest_s
            return 0.0
        rest_s, machine.rest_s = machine.rest_s, min(2 * machine.rest_s, LONGEST_REST_S)
        machine.rests_until_s = now_s + rest_s
        machine.calls.clear()
        return rest_s

    def _usual(self, address: str, now_s: float) -> _Call | None:
        """What the other machines take, in the middle; what this one took once where none of them is known."""
        others = [
            machine.quickest()
            for other, machine in self._machines.items()
            if other != address and machine.known and not self.rests(other, now_s)
        ]
        if not others:
            return self._machines[address].best
        return _Call(*(statistics.median(values) for values in zip(*others, strict=True)))


def _is_slow(own: _Call, usual: _Call) -> bool:
    by_the_byte = own.per_byte_s > SLOWER * usual.per_byte_s
    return by_the_byte and own.took_s > max(SLOWER * usual.took_s, usual.took_s + SLOWER_S)
