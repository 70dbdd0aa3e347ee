"""The threads of an expert's process that run its calls: one on the CPU, one for each batch in flight on GPUs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

from serving.arrays import Array
from serving.errors import StageLateError
from serving.expert.turns import Turns

T = TypeVar("T")


class Call(Generic[T]):
    """One call: its items, and its answer in the event loop that made it.

    `until_s`: when nobody waits for the answer any more, `since_s`: since when the call has waited for its turn, in
    seconds of the monotonic clock.
    """

    since_s: float

    def __init__(self, items: Sequence[Array], traceparent: str | None, until_s: float) -> None:
        self.items, self.traceparent, self.until_s = items, traceparent, until_s
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self.loop.create_future()

    def give_up(self) -> None:
        """The caller has gone: the call is not run, unless it runs already."""
        self.fail(StageLateError("the caller has closed its connection"))

    def answered(self, result: T) -> None:
        """Give the answer to whoever waits for it."""
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: Exception) -> None:
        """Give an error in the place of the answer."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # a caller that has gone asks for none


class Worker(Generic[T]):
    """Runs `run` for each call, in so many threads, in order of arrival.

    A call that is given up, or whose time is over when its turn comes, is not run; so an expert that was stopped for
    seconds answers the first live call at once. One thread on a CPU: of two calls that share a core, neither ends
    sooner and the first ends later. concurrent.futures would take a lock, two conditions and a future of its own for
    each call.
    """

    turns: Turns
    """Other threads that run calls take a turn of it for each."""

    def __init__(self, run: Callable[[Call[T]], T], threads: int = 1) -> None:
        self._run, self.turns = run, Turns(threads)
        self._calls: SimpleQueue[Call[T]] = SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._work, name="expert", daemon=True).start()

    def submit(self, call: Call[T]) -> asyncio.Future[T]:
        """The answer of a call, which waits from now on; StageLateError if it came too late, or what `run` raises."""
        call.since_s = time.monotonic()
        self._calls.put(call)
        return call.answer

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            with self.turns:
                if not call.answer.done():
                    self._answer(call)
            del call  # while this waits, it would keep the model that it was for

    def _answer(self, call: Call[T]) -> None:
        try:
            if time.monotonic() > call.until_s:
                raise StageLateError("the call's time was over before its turn came")
            tell = partial(call.answered, self._run(call))
        except Exception as error:  # noqa: BLE001  # whoever asked gets it, and the thread goes on
            tell = partial(call.fail, error)
        with suppress(RuntimeError):  # the loop is closed: the process ends
            call.loop.call_soon_threadsafe(tell)
