"""Work that is begun at once: most of it waits for nothing, and then needs no task and no turn of the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Started(Generic[T]):
    """An awaitable, run up to where it first waits. `done` is its result if it waits for nothing, else None.

    Another task may await the rest. So what runs at once must not hold on to its task, as asyncio.timeout does.
    """

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self._steps = awaitable.__await__()
        self.done: T | None = None
        try:
            self._waits_for = next(self._steps)
        except StopIteration as end:
            self.done = end.value

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._waits_for
        while True:
            step: Callable[[], Any]
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001  # what is thrown in belongs to the awaitable
                step = partial(self._steps.throw, error)
            else:
                step = partial(self._steps.send, sent)
            try:
                waits_for = step()
            except StopIteration as end:
                result: T = end.value
                return result

    async def rest(self) -> T:
        """What it returns in the end, for a task."""
        return await self
