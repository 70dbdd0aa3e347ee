"""How BentoML's process manager starts a service that runs beside another one, where BentoML's worker is not wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = "PYTHONPATH"
BESIDE = "service_"
"""Begins the names of Circus's watchers over such services; that of the service served is `service` alone."""


@dataclass(frozen=True, slots=True)
class Start:
    """Python with these `arguments`, and `folder` among those that it imports from."""

    arguments: Sequence[str]
    folder: Path

    def of(self, watcher: Any) -> None:
        """Have a watcher of Circus start its processes this way. Their sockets and variables stay as they are."""
        watcher.args = list(self.arguments)
        given = watcher.env or {}
        watcher.env = {**given, PATH: os.pathsep.join(filter(None, (str(self.folder), given.get(PATH))))}
