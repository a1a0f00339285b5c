import asyncio
import itertools

import pytest

from event_router.consumers.health import Health
from event_router.router.watchdog import STALL, Stalled, verdict, watch

LIMIT = 0.2


async def stuck() -> int:
    return 3


@pytest.mark.parametrize(
    ("idle", "found"),
    [(0.0, "fine"), (59.9, "fine"), (60.0, "stalling"), (119.0, "stalling"), (120.0, "stalled")],
)
def test_the_verdict_goes_by_the_time_without_progress(idle: float, found: str) -> None:
    assert verdict(idle, limit=120.0) == found


async def test_a_role_that_gets_nowhere_is_not_ready_and_then_ends() -> None:
    health = Health(started=True)
    watching = asyncio.create_task(watch(stuck, health, LIMIT))
    async with asyncio.timeout(5):
        while health.ready:
            await asyncio.sleep(0.005)
        assert not watching.done()
        with pytest.raises(Stalled, match="3 records wait"):
            await watching


async def test_progress_and_an_empty_backlog_keep_it_running() -> None:
    health = Health(started=True)
    lags = itertools.cycle([0, 5])

    async def lag() -> int:
        health.progress()
        return next(lags)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch(lag, health, LIMIT), LIMIT * 2)
    assert health.ready


async def test_waiting_for_a_dependency_is_no_stall() -> None:
    health = Health(started=True)
    health.down("redis", "away")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch(stuck, health, LIMIT), LIMIT * 2)


async def test_a_hop_that_keeps_raising_is_one() -> None:
    health = Health(started=True)
    health.fault("hop events", "raises KeyError")
    with pytest.raises(Stalled):
        await asyncio.wait_for(watch(stuck, health, LIMIT), 5)


async def test_a_role_that_gets_on_again_is_ready_again() -> None:
    health = Health(started=True)
    watching = asyncio.create_task(watch(stuck, health, LIMIT))
    async with asyncio.timeout(5):
        while STALL not in health.faults:
            await asyncio.sleep(0.005)
        while STALL in health.faults:
            health.progress()
            await asyncio.sleep(0.005)
    assert health.ready
    watching.cancel()


async def test_a_lag_that_nobody_can_tell_is_a_stall_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("event_router.router.watchdog.ASKING", 0.01)

    async def lag() -> int:
        await asyncio.sleep(60)
        return 0

    with pytest.raises(Stalled):
        await asyncio.wait_for(watch(lag, Health(started=True), LIMIT), 5)
