"""`python -m serving watch`: what `bentoml serve` becomes (`serving.giving_way`). Circus, and no BentoML.

The processes that it watches over are forks of it. What they need has been imported before, and is in memory once.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import circus.process
import zmq
from circus.arbiter import Arbiter
from circus.sockets import CircusSocket
from circus.watcher import Watcher

from serving.forked import start_process
from serving.garbage import share_garbage
from serving.giving_way import CHECK_EVERY_S


def watch(plan: Mapping[str, Any], variables: MutableMapping[str, str]) -> None:
    """Start what the plan says, and watch over it until a signal ends this process, whose `variables` these are.

    Ends it with Circus's sentence where a process has ended for good, as in an image, where none is started again.
    """
    share_garbage()
    circus.process.Popen = partial(start_process, variables)
    sockets = [CircusSocket(**one) for one in plan["sockets"]]
    watchers = [Watcher(**one) for one in plan["watchers"]]
    typed = " ".join(plan["typed"])
    # Nobody outside this process may command Circus (`serving.control`), and inside it no thread is needed for that.
    inside = {"endpoint": "inproc://control", "pubsub_endpoint": "inproc://events", "context": zmq.Context(0)}
    try:
        ended = Arbiter(watchers, sockets=sockets, check_delay=CHECK_EVERY_S, proc_name=typed, **inside).start()
        if error := ended.exception():
            raise SystemExit(str(error))
    finally:
        for folder in {Path(one.path).parent for one in sockets if one.is_unix}:
            shutil.rmtree(folder, ignore_errors=True)  # BentoML made it for these sockets
