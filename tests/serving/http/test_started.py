"""Work that is begun at once, and whose rest another task may await."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.http.started import Started


def test_what_waits_for_nothing_is_done() -> None:
    async def work() -> int:
        return 7

    assert Started(work()).done == 7


def test_the_rest_is_awaited_by_another_task() -> None:
    async def main() -> list[Any]:
        seen: list[Any] = []
        let_go = asyncio.get_running_loop().create_future()

        async def work() -> str:
            seen.append("begun")
            seen.append(await let_go)
            await asyncio.sleep(0)
            return "done"

        started = Started(work())
        seen.append(started.done)
        task = asyncio.create_task(started.rest())
        let_go.set_result("let go")
        return [*seen, await task, seen[-1]]

    assert asyncio.run(main()) == ["begun", None, "done", "let go"]


@pytest.mark.parametrize("goes_on", [True, False])
def test_who_is_cancelled_may_clean_up(goes_on: bool) -> None:
    async def main() -> Any:
        async def work() -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                if not goes_on:
                    raise
            return "cleaned up"

        task = asyncio.create_task(Started(work()).rest())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    if goes_on:
        assert asyncio.run(main()) == "cleaned up"
    else:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(main())


def test_errors_come_where_they_are_raised() -> None:
    async def fails() -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        Started(fails())

    async def main() -> None:
        async def later() -> None:
            await asyncio.sleep(0)
            raise ValueError("later")

        await Started(later())

    with pytest.raises(ValueError, match="later"):
        asyncio.run(main())
