"""How a process of the service ends: with one sentence, where what it was given cannot be served; after its server."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import SieveError

SERVER_VARIABLE = "SIEVE_SERVER"
"""Tells the workers the process id of the `bentoml serve` that starts them."""
LOOK_EVERY_S = 0.5
# A body may arrive for 8 seconds, and its answer takes one at most: nothing that was accepted takes longer.
GRACE_S = 10.0

logger = logging.getLogger("sieve")


@contextmanager
def in_one_sentence(of: object) -> Iterator[None]:
    """End the process with the message of an error in the artifact or cascade `of`, without a traceback."""
    try:
        yield
    except SieveError as error:
        raise SystemExit(f"{of}: {error}") from None


def end_after(server: str | None) -> None:
    """End this process when `server` has ended, the process id of the one that started it; None if none did.

    A server that is killed ends none of its workers. They would hold its port, and nobody could stop them by it or
    start them again. SIGTERM lets this process answer what it has accepted; it has GRACE_S seconds for that.
    """
    if server is not None and not _is_another(int(server)):
        threading.Thread(target=_end_after, args=(int(server),), name="server", daemon=True).start()


def _is_another(server: int) -> bool:
    """Whether `server` runs and did not start this process: then there is none to watch."""
    if os.getppid() == server:
        return False
    try:
        os.kill(server, 0)
    except ProcessLookupError:
        return False
    return True


def _end_after(server: int) -> None:
    # The kernel gives a process whose parent has ended to another one.
    while os.getppid() == server:
        time.sleep(LOOK_EVERY_S)
    logger.warning("the server that started this process has ended without it; this process ends, too")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)
