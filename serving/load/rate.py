"""Rates: how many requests a second a key or an address may send.

Pure: the caller passes the time, in seconds of one monotonic clock.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

MOST_ADDRESSES = 10_000
"""Addresses that are remembered; the one that has asked least recently is forgotten first."""
# Whoever has one IPv6 address has the whole network of this length.
NETWORK_BITS = 64


class Rate:
    """Lets `per_s` requests a second through. After a pause, as many as that may come at once, and always one."""

    __slots__ = ("_at_s", "_left", "_most", "_per_s")

    def __init__(self, per_s: float) -> None:
        self._per_s, self._most = per_s, max(1.0, per_s)
        self._left, self._at_s = self._most, 0.0

    def take(self, now_s: float) -> float:
        """Let a request through, and return 0; else the seconds until the next one would be let through."""
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._per_s


class RateByAddress:
    """Lets `per_s` requests a second of each address through."""

    def __init__(self, per_s: float, most_addresses: int = MOST_ADDRESSES) -> None:
        self._per_s, self._most_addresses = per_s, most_addresses
        self._rates: OrderedDict[str, Rate] = OrderedDict()

    def take(self, address: str, now_s: float) -> float:
        """Let a request of `address` through, and return 0; else the seconds until the next one would be."""
        owner = owner_of(address)
        rate = self._rates.pop(owner, None) or Rate(self._per_s)
        self._rates[owner] = rate
        if len(self._rates) > self._most_addresses:
            self._rates.popitem(last=False)
        return rate.take(now_s)


def owner_of(address: str) -> str:
    """What an address is counted as: an IPv6 address as its network; an IPv4 address, or another word, as itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), NETWORK_BITS), strict=False))
