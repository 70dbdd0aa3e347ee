"""BentoML's process manager takes no commands from outside its process, and starts experts our way.

`bentoml serve` runs Circus, and gives it two TCP ports of 127.0.0.1. On the first, whoever reaches loopback may stop
workers and start programs of their own (Circus's commands `add`, `set` and `quit`), without a key; the second tells of
processes. BentoML 1.4.40 has no setting for them (`create_standalone_arbiter` in bentoml/_internal/utils/circus), so
Circus is given other addresses here.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from circus.arbiter import Arbiter
from circus.watcher import Watcher

from serving.giving_way import giving_way
from serving.start import BESIDE, Start

NO_STARTS: Mapping[str, Start] = {}


def close_control(starts: Mapping[str, Start] = NO_STARTS, variables: Mapping[str, str] | None = None) -> None:
    """Have every Circus that starts in this process later listen inside this process only.

    With a plugin, which is a process of its own (`bentoml serve --reload`), it listens on unix sockets in a folder that
    nobody else may enter. `starts` says how to start services that run beside another one, by their names; the others
    start as BentoML says. With `variables`, those of this process, `bentoml serve` gives way to a small program.
    """
    start = Arbiter.__init__
    if hasattr(start, "__wrapped__"):
        return

    @wraps(start)
    def closed(self: Arbiter, watchers: Sequence[Watcher], *arguments: Any, **named: Any) -> None:
        for watcher in watchers:
            if watcher.name.removeprefix(BESIDE) in starts:
                starts[watcher.name.removeprefix(BESIDE)].of(watcher)
        place = f"ipc://{_own_folder()}/" if named.get("plugins") else f"inproc://{id(self)}-"
        start(
            self, watchers, *arguments, **named | {"endpoint": f"{place}control", "pubsub_endpoint": f"{place}events"}
        )

    Arbiter.__init__ = closed
    if variables is not None:
        Arbiter.start = giving_way(Arbiter.start, Path(__file__).parent.parent, variables)


def _own_folder() -> str:
    """A folder of this user alone, which goes when the process ends."""
    folder = tempfile.mkdtemp(prefix="sieve-control-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
