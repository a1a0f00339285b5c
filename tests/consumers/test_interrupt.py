import asyncio

import pytest

from event_router.consumers.interrupt import Interrupt


async def test_firing_ends_the_await_under_it() -> None:
    interrupt, passed = Interrupt(), False
    asyncio.get_running_loop().call_later(0.01, interrupt.fire)
    async with interrupt:
        await asyncio.sleep(60)
        passed = True
    assert interrupt.fired
    assert not passed


async def test_what_is_entered_after_firing_ends_at_once() -> None:
    interrupt = Interrupt()
    interrupt.fire()
    interrupt.fire()
    async with interrupt:
        await asyncio.sleep(60)


async def test_errors_and_time_outs_of_the_body_pass() -> None:
    interrupt = Interrupt()
    with pytest.raises(TimeoutError):
        async with interrupt:
            raise TimeoutError
    with pytest.raises(LookupError):
        async with interrupt:
            raise LookupError


async def test_a_task_that_is_cancelled_stays_cancelled() -> None:
    async def wait() -> None:
        async with Interrupt():
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
