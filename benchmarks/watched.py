"""The service for `make audit-cost`: `bentoml serve benchmarks.watched:Cascade`.

Each SIGUSR1 to a process of the API ends what watches its answers there (audits, the memory for feedback, shadows), or
begins it again. So both are measured in one process: two processes of the same program differ by up to 3 %, by where
their memory happens to lie.
"""

from __future__ import annotations

import signal
from typing import Any

import service
from benchmarks.servers import TOGGLE
from serving.http.protocol import SieveProtocol

Cascade: Any = service.Cascade


class Watching:
    """What watches the answers of an opened `cascade`, on at first."""

    def __init__(self, cascade: Any) -> None:
        self._auditors = {opened: opened.auditor for opened in cascade._cascades.served}
        assert SieveProtocol.door is not None, "the cascade has opened it"
        self._observer = SieveProtocol.door._observer
        self._memory = self._observer._memory
        self._shown, self._shadows = cascade._shadows._of, dict(cascade._shadows._of)
        self._on = True

    def toggle(self, *_: Any) -> None:
        """End it, or begin it again."""
        self._on = not self._on
        for opened, auditor in self._auditors.items():
            opened.auditor = auditor if self._on else None
        self._observer._memory = self._memory if self._on else None
        self._shown.clear()
        self._shown.update(self._shadows if self._on else {})


_begin = Cascade.inner.__init__


def _begun(self: Any) -> None:
    _begin(self)
    signal.signal(TOGGLE, Watching(self).toggle)


Cascade.inner.__init__ = _begun
