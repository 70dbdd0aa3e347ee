"""`bentoml serve` gives way to a small program once it has found its services servable and what to start for them.

From then on it would only watch over the processes of the bundle, and hold all that it took to get so far: BentoML and
our service, 50 MB. A process gives such memory back by running another program in its place, here `python -m serving
watch` (`serving.watching`). The process id stays, and so do the streams and the variables.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from circus.arbiter import Arbiter
from circus.sockets import CircusSocket
from circus.watcher import Watcher

OPTIONS = (
    *("name", "cmd", "args", "numprocesses", "working_dir", "env", "stop_children", "use_sockets", "graceful_timeout"),
    *("respawn", "close_child_stdin"),
)
"""The options of Circus's watchers that BentoML sets."""
CHECK_EVERY_S = 10
"""How often BentoML has Circus look after its processes, beside being told of their end."""
COMMAND = "serve"


def giving_way(start: Callable[..., Any], folder: Path, variables: Mapping[str, str]) -> Callable[..., Any]:
    """Circus's `Arbiter.start`, which gives way where the small program can do the same.

    Elsewhere `start` runs: with plugins, as `bentoml serve --reload` has, and in a process that is not `bentoml serve`.
    `folder` is where the program finds this package; `variables` are those of this process.
    """

    def started(self: Arbiter, told: Callable[[Any], Any] | None = None) -> Any:
        plan = plan_of(self) if _is_serving() else None
        if plan is None:
            return start(self, told)
        if told is not None:
            told(None)  # BentoML logs the address
        for one in self.sockets.values():
            one.close()  # they are not bound yet
        become(plan, folder, variables)

    return started


def _is_serving() -> bool:
    """Whether this process is that of `bentoml serve`, and this thread its first: only then may all else end."""
    context = click.get_current_context(silent=True)
    first = threading.current_thread() is threading.main_thread()
    return sys.platform == "linux" and first and context is not None and context.info_name == COMMAND


def plan_of(arbiter: Arbiter) -> Mapping[str, Any] | None:
    """What there is to start, and where to listen. None if the arbiter has more in mind than a plan says."""
    watchers = [{option: getattr(one, option) for option in OPTIONS} for one in arbiter.watchers]
    same = all(_equal(one, Watcher(**options)) for one, options in zip(arbiter.watchers, watchers, strict=True))
    if not same or arbiter.debug or arbiter.check_delay != CHECK_EVERY_S:
        return None
    return {"watchers": watchers, "sockets": [_socket(one) for one in arbiter.sockets.values()]}


def _equal(one: Watcher, other: Watcher) -> bool:
    names = {*one.optnames, *other.optnames} - {"copy_env"}  # the variables are in `env` by now
    return not one.hooks and all(getattr(one, name, None) == getattr(other, name, None) for name in names)


def _socket(one: CircusSocket) -> dict[str, Any]:
    shared = {"name": one.name, "backlog": one.backlog}
    return shared | ({"path": one.path} if one.is_unix else {"host": one.host, "port": one.port, "family": one.family})


def become(plan: Mapping[str, Any], folder: Path, variables: Mapping[str, str]) -> None:
    """Run the program in the place of this one. Variables may be secrets, so the plan goes through a file."""
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps({**plan, "typed": sys.orig_argv}).encode())
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        line = [sys.executable, "-m", "serving", "watch", str(file.fileno())]
        path = os.pathsep.join(filter(None, (str(folder), variables.get("PYTHONPATH"))))
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, line, {**variables, "PYTHONPATH": path})  # nosec B606 # this interpreter
