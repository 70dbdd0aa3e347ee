"""What requests show to a service, and what the service is checked against: headers, certificates, authorities."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from loadtest.errors import OptionError

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token of HTTP (RFC 9110, 5.6.2)."""
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
OURS = ("connection", "content-length", "content-type", "host", "inference-header-content-length", "transfer-encoding")
"""Headers that the client itself writes."""
RULE = "must be 'NAME: VALUE' on one line, like 'Authorization: Bearer …', and none of " + ", ".join(OURS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Headers of every request, and files in PEM: `ca` instead of the system's authorities, a client's `cert`, `key`.

    `key` may be left out where `cert` holds it, too.
    """

    headers: tuple[tuple[str, str], ...] = ()
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def lines(self) -> bytes:
        """The headers as lines of HTTP/1.1."""
        return b"".join(b"%b: %b\r\n" % (name.encode(), value.encode("latin-1")) for name, value in self.headers)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers as metadata of a call over gRPC, whose names are lower-case."""
        return tuple((name.lower(), value) for name, value in self.headers)

    def context(self) -> ssl.SSLContext:
        """For connections over TLS. Raises OptionError where a file cannot be used."""
        return _context(self)

    def channel(self) -> Any:
        """For channels of gRPC over TLS."""
        import grpc

        ca, cert, key = (path and path.read_bytes() for path in (self.ca, self.cert, self.key or self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)

    def as_dict(self) -> dict[str, object]:
        """For JSON: names of headers and files alone, since values are secrets and paths belong to one machine."""
        files = {name: path and path.name for name, path in (("ca", self.ca), ("cert", self.cert))}
        return {"headers": [name for name, _ in self.headers], **files}


NO_CREDENTIALS = Credentials()


def header(text: str) -> tuple[str, str]:
    """The name and the value of `NAME: VALUE`. Raises ValueError, which does not show the value."""
    name, colon, value = text.partition(":")
    if not (colon and NAME.fullmatch(name) and VALUE.fullmatch(value)) or name.lower() in OURS:
        raise ValueError(RULE)
    return name, value.strip()


@cache  # reading the system's authorities takes tens of milliseconds
def _context(credentials: Credentials) -> ssl.SSLContext:
    files = (("--ca", credentials.ca), ("--cert", credentials.cert), ("--key", credentials.key))
    named = " and ".join(name for name, path in files if path)
    try:
        context = ssl.create_default_context(cafile=credentials.ca)
        if credentials.cert:
            # Without an answer OpenSSL would ask the terminal for a password.
            context.load_cert_chain(credentials.cert, credentials.key, password="")  # nosec B106 # none is known
    except OSError as error:  # also what ssl raises
        raise OptionError(
            f"{named}: must be files in PEM without a password, the key that of the certificate, got "
            f"{type(error).__name__} when they were read; name others"
        ) from None
    return context
