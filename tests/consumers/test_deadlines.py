"""Many deadlines of the same length, one timer: each block is cancelled at its own time."""

import asyncio
import time

import pytest

from event_router.consumers.deadlines import Deadlines


async def _late(deadlines: Deadlines, seconds: float) -> float:
    """How long it took until the deadline."""
    began = time.monotonic()
    with pytest.raises(TimeoutError), deadlines.within(seconds):
        await asyncio.sleep(60)
    return time.monotonic() - began


async def test_a_block_that_is_left_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    with deadlines.within(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)


async def test_each_block_has_its_own_deadline() -> None:
    deadlines = Deadlines()
    first = asyncio.create_task(_late(deadlines, 0.1))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(_late(deadlines, 0.1))
    other = asyncio.create_task(_late(deadlines, 0.02))
    for task, seconds in ((first, 0.1), (second, 0.1), (other, 0.02)):
        assert await task >= seconds * 0.9


async def test_a_block_that_is_left_passes_the_timer_on() -> None:
    deadlines = Deadlines()
    began = time.monotonic()
    with deadlines.within(0.05):
        await asyncio.sleep(0.03)
    assert await _late(deadlines, 0.05) >= 0.045
    assert time.monotonic() - began < 10


async def test_a_cancellation_from_outside_stays_one() -> None:
    deadlines = Deadlines()

    async def wait() -> None:
        with deadlines.within(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_deadline_is_not_swallowed() -> None:
    deadlines = Deadlines()
    left = asyncio.Event()

    async def wait() -> None:
        try:
            with deadlines.within(0.01):
                try:
                    await asyncio.sleep(60)
                finally:
                    left.set()
                    await asyncio.sleep(60)
        except TimeoutError:
            pytest.fail("it was cancelled")

    task = asyncio.create_task(wait())
    await left.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_inner_deadline_is_not_the_outer_ones() -> None:
    deadlines = Deadlines()
    with deadlines.within(60):
        assert await _late(deadlines, 0.01) < 30


async def test_an_error_of_the_block_goes_through() -> None:
    deadlines = Deadlines()
    with pytest.raises(KeyError), deadlines.within(60):
        raise KeyError("its own")
    await _late(deadlines, 0.01)
