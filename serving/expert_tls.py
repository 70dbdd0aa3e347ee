"""How the API and its experts know each other over https."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertTls:
    """Files in PEM: the authorities `ca` of experts, and the certificate `cert` with its `key` that is shown to them.

    Without `ca` the system's authorities count. Without `cert` none is shown; its key may stand in the same file.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """For connections to experts. Raises OSError if a file cannot be read, or has a password."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.cert:
            # Without a password that is stated, OpenSSL asks for it on the terminal.
            context.load_cert_chain(self.cert, self.key or None, password="")  # nosec B106 # asks for no password
        return context

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The authorities, the certificate and its key, for gRPC, which brings authorities for where none are named."""
        key = self.key or self.cert
        return _read(self.ca), _read(self.cert), _read(key)


def _read(file: str) -> bytes | None:
    return Path(file).read_bytes() if file else None


SYSTEM = ExpertTls()
