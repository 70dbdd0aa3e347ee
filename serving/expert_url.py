"""Where an expert is: the URL of one of ours, or of a model on any server of the Open Inference Protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Literal, cast
from urllib.parse import urlsplit

_HOST = r"([^/:@\[\]\s?#]+|\[[^\]]+\])"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
OURS = re.compile(rf"https?://{_HOST}(:\d+)?")
OTHERS = re.compile(
    rf"oip\+(?P<scheme>https?|grpcs?)://(?P<address>{_HOST}:\d+)/(?P<model>{_NAME})(/versions/(?P<version>{_NAME}))?"
)
RULE = (
    "must be http://HOST:PORT or https://HOST:PORT of an expert of Sieve, whose port may be left out, or "
    "oip+http://HOST:PORT/MODEL, or the same with oip+https, oip+grpc or oip+grpcs, on another server; an IPv6 address "
    "stands in brackets"
)

Scheme = Literal["http", "https", "grpc", "grpcs"]


@dataclass(frozen=True, slots=True)
class OtherPlace:
    """A model on another server. `address` is HOST:PORT; an empty `version` is the one that the artifact's digest says.

    A `version` that stands in the URL is asked whatever digest it has: whoever wrote the URL vouches for it.
    """

    scheme: Scheme
    address: str
    model: str
    version: str


def checked(url: str) -> str:
    """The URL of an expert, or none. Raises ValueError for anything else."""
    if url and not (_is_whole(url) and (OURS.fullmatch(url) or OTHERS.fullmatch(url))):
        raise ValueError(RULE)
    return url


def _is_whole(url: str) -> bool:
    """Whether host and port are such as there can be."""
    try:
        place = urlsplit(url)
        # A port that there cannot be raises when it is read.
        host, port = place.hostname or "", place.port
        return port != 0 and host != "" and (":" not in host or bool(IPv6Address(host)))
    except ValueError:
        return False


def other_place(url: str) -> OtherPlace | None:
    """The place that a checked URL names on another server; None if it is the URL of one of our experts."""
    found = OTHERS.fullmatch(url)
    if found is None:
        return None
    return OtherPlace(cast(Scheme, found["scheme"]), found["address"], found["model"], found["version"] or "")
