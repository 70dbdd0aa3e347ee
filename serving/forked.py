"""Processes that are forks of this one, so that they share what it has imported: a page is copied when it is written.

They run `python -m MODULE ARGUMENTS` as a new interpreter would: with its variables, its folder, its command line. What
they find imported they do not import again. This process may have one thread of Python alone, or a lock that another
one holds at that moment stays locked in the fork for ever.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, NoReturn

import psutil
from setproctitle import setproctitle

PATH = "PYTHONPATH"
STANDARD = 3
"""The first file descriptor beside those of the standard streams."""


class Forked(psutil.Process):
    """A fork, with all that Circus asks of a `psutil.Popen`."""

    stdout = stderr = None
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs; 0 where another waited for it, as Circus may."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """As `poll`, once it has ended; raises psutil.TimeoutExpired where that takes longer than `timeout` seconds."""
        status: int | None = super().wait(timeout)
        if status is not None:
            self.returncode = int(status)
        return self.returncode or 0


def start_process(
    variables: MutableMapping[str, str],
    line: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    preexec_fn: Callable[[], None],
    shell: bool = False,
    executable: str | None = None,
    close_fds: bool = False,
    **pipes: Any,
) -> psutil.Process:
    """`psutil.Popen`, but a fork for `python -m MODULE`. The descriptors that a new program would get stay open.

    `variables` are those of this process, in whose place the fork gets `env`.
    """
    if line[:2] != [sys.executable, "-m"] or shell or executable or close_fds or pipes:
        options = {"shell": shell, "executable": executable, "close_fds": close_fds, **pipes}
        return psutil.Popen(line, cwd=cwd, env=env, preexec_fn=preexec_fn, **options)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what is left in it the fork would write a second time
    # A signal that comes before the fork has let go of our handlers would be answered twice.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _run(partial(_take, line, cwd, variables, env), line[2], preexec_fn, before)
        return Forked(pid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(take: Callable[[], None], module: str, first: Callable[[], None], mask: Iterable[int]) -> NoReturn:
    """The life of a fork."""
    status = 1
    try:
        _let_go()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        first()
        take()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = _status(ended.code)
    except BaseException:  # noqa: BLE001  # nothing may get past here into the process that this one is a fork of
        traceback.print_exc()
    finally:
        _end(status)


def _let_go() -> None:
    """Leave the signals, the event loop, the files, the log and the end of the process that this one is a fork of."""
    signal.set_wakeup_fd(-1)
    for one in signal.valid_signals():
        if callable(signal.getsignal(one)):
            signal.signal(one, signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL)
    asyncio._set_running_loop(None)
    asyncio.set_event_loop_policy(None)
    atexit._clear()
    logging.root.handlers.clear()
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:
        try:
            if number >= STANDARD and not os.get_inheritable(number):
                os.close(number)
        except OSError:  # the one that listed them
            continue


def _take(line: Sequence[str], cwd: str, variables: MutableMapping[str, str], env: Mapping[str, str]) -> None:
    """The command line, the variables, the working folder, and where modules are looked for."""
    setproctitle(" ".join(line))
    before = variables.get(PATH, "").split(os.pathsep)
    found = [folder for folder in sys.path[1:] if folder not in before]
    variables.clear()
    variables.update(env)
    os.chdir(cwd)
    sys.path[:] = [cwd, *filter(None, env.get(PATH, "").split(os.pathsep)), *found]
    sys.orig_argv[:] = line
    sys.argv[:] = line[2:]


def _status(code: object) -> int:
    """The exit status of a SystemExit, as Python takes it: another value than a number is printed."""
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _end(status: int) -> NoReturn:
    """What an interpreter does at its end, but nothing of the process that this one is a fork of."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends its forks
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(status)
