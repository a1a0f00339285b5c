"""Waiting for one thing or another."""

import asyncio

import pytest

from event_router.consumers.waiting import unless, when


async def test_work_that_ends_first_is_answered() -> None:
    async def work() -> int:
        return 7

    assert await unless(asyncio.Event(), work, "work") == 7
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_that_raises_raises() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unless(asyncio.Event(), work, "work")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stop_ends_the_work() -> None:
    stop, ended = asyncio.Event(), list[str]()

    async def work() -> int:
        stop.set()
        try:
            return await asyncio.sleep(3600, 7)
        finally:
            ended.append("cancelled")

    assert await unless(stop, work, "work") is None
    assert ended == ["cancelled"]


async def test_a_cancellation_leaves_nothing_behind() -> None:
    waiting = asyncio.create_task(unless(asyncio.Event(), asyncio.Event().wait, "work"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_is_to_be_done_then_is_done_then() -> None:
    event, done = asyncio.Event(), list[str]()
    waiting = asyncio.create_task(when(event, lambda: done.append("done")))
    await asyncio.sleep(0)
    assert done == []
    event.set()
    await waiting
    assert done == ["done"]
