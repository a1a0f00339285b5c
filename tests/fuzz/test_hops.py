"""No record stops a hop: it comes to its end, and what it can't use lies in `dead`."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_router.router.decisions.alerts import AlertPolicy
from event_router.schemas.decode import decode_event
from event_router.schemas.errors import Undecodable, UnknownVersion
from event_router.schemas.record import Record, place_of
from event_router.schemas.wire import read_dead, read_outcome
from tests.fuzz.hostile import spoilt_events, spoilt_heads
from tests.loop import World, destination
from tests.store.history import START

FILTER = {"data": {"deep": {"a": {"$exist": True}}, "$or": [{"n": {"$gt": 0}}, {"n": "x"}]}}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _world() -> World:
    world = World(clock=lambda: START)
    world.wants_alerts(AlertPolicy(frozenset({"*"}), alert_after=2, disable_after=3))
    world.directory.put(destination("d1"), destination("d2", filter=FILTER))
    return world


def _run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work

    asyncio.run(bounded())


def _undecodable(record: Record, read: Callable[[Record], object]) -> bool:
    try:
        read(record)
    except Undecodable:
        return True
    return False


def _dead(world: World) -> set[object]:
    return {read_dead(one).head.place for one in world.broker.records(world.topics.dead)}


@settings(max_examples=100)
@given(records=st.lists(spoilt_events(), max_size=6))
def test_routing_takes_any_event(records: list[Record]) -> None:
    async def work() -> None:
        world = _world()
        await world.life().route(records)
        wrong = {place_of(one) for one in records if _undecodable(one, decode_event)}
        assert wrong <= _dead(world)

    _run(work())


@settings(max_examples=100)
@given(records=st.lists(spoilt_heads(), max_size=6))
def test_settling_takes_any_attempt(records: list[Record]) -> None:
    async def work() -> None:
        world = _world()
        known = [one for one in records if not _of_another_version(one)]
        await world.life().settle(known)
        wrong = {place_of(one) for one in known if _undecodable(one, read_outcome)}
        assert wrong <= _dead(world)

    _run(work())


def _of_another_version(record: Record) -> bool:
    try:
        read_outcome(record)
    except UnknownVersion:
        return True
    except Undecodable:
        return False
    return False
