"""What sweep decides by itself; `tests/test_storms.py` has the order of its steps."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from event_router.consumers.delivery_worker import WorkerLimits
from event_router.consumers.memory import MemoryBroker
from event_router.consumers.ports import Parked, due_since
from event_router.router.decisions.delays import FixedDelays
from event_router.router.decisions.retry import RetryPolicy
from event_router.router.hops.orphans import (
    TURN,
    Orphans,
    SweepCounts,
    SweepPace,
    next_attempt,
)
from event_router.router.hops.progress import passed, progress_of, reached, shrunk
from event_router.router.hops.sweep import Sweep
from event_router.router.hops.sweeper import Sweeper, SweeperPace
from event_router.router.schedule.layout import Bounds
from event_router.router.schedule.memory import MemorySchedule
from event_router.router.store.log_ports import DeliveryRef, Unsettled
from event_router.router.store.memory_log import MemoryLog
from event_router.schemas.attempt import Attempt, AttemptHead
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer, Unavailable
from event_router.schemas.ids import new_id
from event_router.schemas.record import Record
from event_router.schemas.topics import Topics
from event_router.schemas.wire import attempt_message, read_delivery
from tests.contracts.schedules import delivery
from tests.loop import Life, Receiver, World, destination, unavailable
from tests.virtual_time import BEGIN, run_virtually, virtual_clock
from tests.waiting import until

POLICY = RetryPolicy(FixedDelays((60.0, 600.0)), limit=2, max_age=10**9)
P0, P1 = ("t", 0), ("t", 1)


def row(last: AttemptHead | None) -> Unsettled:
    made = delivery()
    ref = DeliveryRef(0, "events:0:1:1", "d1", 0)
    return Unsettled(ref, made.head, made.data, "failed", None, None, last)


def attempt(number: int, outcome: str = "failed") -> AttemptHead:
    head = AttemptHead("a", delivery(attempt=number).head, "webhook", "failed", "500", 5_000, 250)
    return msgspec.structs.replace(head, outcome=outcome)


@pytest.mark.parametrize(
    ("offset", "is_passed"), [(4, True), (5, False), (9, False), (10, True), (50, True)]
)
def test_a_record_is_passed_below_the_commit_or_when_its_topic_is_gone(
    offset: int, *, is_passed: bool
) -> None:
    progress = progress_of({P0: 5}, {P0: 10})
    assert passed((0, offset, 1), "t", progress) is is_passed


def test_a_record_that_was_never_written_is_passed() -> None:
    assert passed(None, "t", progress_of({}, {P0: 10}))


def test_a_commit_past_the_end_is_that_of_a_topic_that_is_gone() -> None:
    progress = progress_of({P0: 1000, P1: 3}, {P0: 10, P1: 3})
    assert progress.done == {P1: 3}
    assert not passed((0, 5, 1), "t", progress)
    assert not reached({P0: 10}, progress.done)


def test_all_partitions_must_be_read_to_their_ends() -> None:
    assert reached({P0: 10, P1: 0}, {P0: 10})
    assert not reached({P0: 10, P1: 1}, {P0: 12})


def test_an_end_that_has_shrunk_or_gone_tells_of_a_recreated_topic() -> None:
    assert shrunk({P0: 10}, {P0: 9})
    assert shrunk({P0: 10}, {})
    assert not shrunk({P0: 10}, {P0: 11, P1: 1})


def test_a_delivery_without_an_attempt_is_owed_its_first_one_now() -> None:
    assert next_attempt(row(None), POLICY) == Parked(delivery(), due_since(delivery().head))


def test_the_next_attempt_is_due_when_settle_had_made_it_due() -> None:
    first = next_attempt(row(attempt(1)), POLICY)
    assert first == Parked(delivery(attempt=2), 5_250 + 60_000)
    second = next_attempt(row(attempt(2)), POLICY)
    assert second == Parked(delivery(attempt=3), 5_250 + 600_000)


@pytest.mark.parametrize("last", [attempt(3), attempt(1, "rejected")])
def test_what_should_have_been_given_up_gets_one_more_attempt_that_settle_gives_up(
    last: AttemptHead,
) -> None:
    parked = next_attempt(row(last), POLICY)
    assert parked.due == due_since(delivery().head)
    assert parked.delivery.head.attempt == last.delivery.attempt + 1


async def _with_deliver_away() -> tuple[World, Sweep]:
    """Its records wait in Kafka, the log has read everything, the schedule is empty."""
    world = World()
    world.directory.put(destination("d1"))
    await world.publish("e1", "e2")
    life = world.life()
    topics = world.topics
    for group, topic, hop in (
        ("stream", topics.events, life.route),
        ("log", topics.events, life.writer.write),
        ("log", topics.deliveries, life.writer.write),
    ):
        records: list[Record] = world.broker.unfinished(topics.group(group), topic)
        await hop(records)
        world.broker.finish(topics.group(group), records)
    return world, life.sweeper.sweep


async def _sweep_for_an_hour() -> tuple[World, Sweep]:
    world, sweep = await _with_deliver_away()
    until = virtual_clock() + 3_600_000
    while virtual_clock() < until:
        await sweep(virtual_clock(), hurry=True)
        await asyncio.sleep(10)
    return world, sweep


def test_what_waits_in_kafka_is_not_parked_however_long_deliver_is_away() -> None:
    world, sweep = run_virtually(_sweep_for_an_hour())
    assert len(world.broker.unfinished(world.topics.group("deliver"), "deliveries")) == 2
    assert sweep.counts.missing == 0


def _success(made: Delivery) -> Attempt:
    return Attempt(AttemptHead(new_id(), made.head, "webhook", "delivered", "200", BEGIN, 5))


async def _sweep_while_the_log_is_late() -> tuple[World, SweepCounts]:
    """Everything was delivered and settled; the log reads of it during the pass."""
    world = World()
    world.directory.put(destination("d1"))
    await world.publish("e1", "e2", "e3")
    life = world.life()
    topics, broker = world.topics, world.broker

    async def read(role: str, topic: str, hop: Callable[[list[Record]], Awaitable[None]]) -> None:
        records = broker.unfinished(topics.group(role), topic)
        await hop(records)
        broker.finish(topics.group(role), records)

    await read("stream", topics.events, life.route)
    await read("log", topics.events, life.writer.write)
    await read("log", topics.deliveries, life.writer.write)
    broker.finish(topics.group("deliver"), broker.records(topics.deliveries))
    for record in broker.records(topics.deliveries):
        await broker.send([attempt_message(_success(read_delivery(record)), topics)])
    await read("stream", topics.attempts, life.settle)
    passing = asyncio.create_task(life.sweeper.sweep(virtual_clock() + 1, hurry=True))
    await asyncio.sleep(SweepPace().renewed + 5)
    assert not passing.done()
    await read("log", topics.attempts, life.writer.write)
    assert await passing == 0
    return world, life.sweeper.sweep.counts


def test_what_the_log_was_about_to_read_is_not_called_missing() -> None:
    world, counts = run_virtually(_sweep_while_the_log_is_late())
    assert asyncio.run(world.log.unsettled(10**15, 10)) == []
    assert counts == SweepCounts()


async def _sweep_during_another_turn() -> int:
    world, sweep = await _with_deliver_away()
    broker, topics = world.broker, world.topics
    broker.finish(topics.group("deliver"), broker.records(topics.deliveries))
    assert await world.schedule.turn("another", 60)
    during = await sweep(virtual_clock() + 1)
    await asyncio.sleep(61)
    assert during == 0
    return await sweep(virtual_clock() + 1)


def test_nothing_is_parked_in_another_ones_turn() -> None:
    assert run_virtually(_sweep_during_another_turn()) == 2


def test_a_pace_waits_longer_than_a_worker_takes_to_renew_its_leases() -> None:
    limits = WorkerLimits()
    assert SweepPace().renewed > limits.lease / 3 + limits.keep_every


async def test_a_group_has_done_up_to_its_lowest_unfinished_record() -> None:
    world = World(clock=lambda: 1)
    broker: MemoryBroker = world.broker
    await world.publish(*(f"e{n}" for n in range(40)))
    records = broker.records("events")
    broker.finish("g", [one for one in records if one.offset != 2])
    done, ends = await broker.done("g", "events"), await broker.ends("events")
    assert all(at == (min(ends[place], 2)) for place, at in done.items())


MILLION = 1_000_000


class AMillionQueued(MemoryLog):
    """Deliveries that were routed, and lie in Kafka one after the other."""

    def __init__(self, page: list[Unsettled]) -> None:
        super().__init__()
        self.page = page
        self.read = 0

    async def unsettled(
        self, before: int, limit: int, after: DeliveryRef | None = None, **_: object
    ) -> list[Unsettled]:
        assert len(self.page) == limit
        begin = after.next_at if after else 0
        if begin >= min(MILLION, before):
            return []
        self.read += limit
        last = self.page[-1]
        return [
            *self.page[:-1],
            msgspec.structs.replace(
                last,
                ref=last.ref._replace(next_at=begin + limit),
                delivery_place=(0, begin + limit - 1, 1),
            ),
        ]


async def _sweep_a_million() -> tuple[World, Sweep, AMillionQueued]:
    world = World()
    world.broker.logs["deliveries", 0] = [_RECORD] * MILLION
    place = (0, 7, 1)
    page = [
        msgspec.structs.replace(row(None), head=delivery(number).head, delivery_place=place)
        for number in range(500)
    ]
    log = AMillionQueued(page)
    sweep = Sweep(world.topics, log, world.schedule, AwayFor(world), world.directory, POLICY)
    await sweep(virtual_clock(), hurry=True)
    return world, sweep, log


_RECORD = Record("deliveries", 0, 0, 1, None, b"", ())


class AwayFor:
    """Offsets of a world in which deliver has done with the first seven records, and stopped."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def ends(self, topic: str) -> dict[tuple[str, int], int]:
        return await self.world.broker.ends(topic)

    async def done(self, group: str, topic: str) -> dict[tuple[str, int], int]:
        ends = await self.ends(topic)
        return dict.fromkeys(ends, 7) if group == self.world.topics.group("deliver") else ends


def test_with_a_million_waiting_in_kafka_nothing_is_parked() -> None:
    world, sweep, log = run_virtually(_sweep_a_million())
    assert log.read == MILLION
    assert sweep.counts == SweepCounts()
    assert asyncio.run(world.schedule.stats()).entries == 0


async def _turns_beside_a_slow_pass() -> int:
    world, sweep = await _with_deliver_away()
    sweep.pace = SweepPace(page=1)
    passing = asyncio.create_task(sweep(virtual_clock() + 1), name="slow pass")
    turns = 0
    await asyncio.sleep(0.1)
    while not passing.done():
        turns += await world.schedule.turn("command", 0.001)
        await asyncio.sleep(0.1)
    return turns


def test_who_sweeps_by_hand_gets_a_turn_beside_a_slow_pass() -> None:
    assert run_virtually(_turns_beside_a_slow_pass()) > 0


class Away(Receiver):
    """`back` is away for 100 s, `gone` for ever."""

    async def deliver(self, delivery: Delivery) -> Answer:
        to = delivery.head.destination
        if to == "gone" or virtual_clock() < BEGIN + 100_000:
            raise unavailable("503", retry_after=40)
        return await super().deliver(delivery)


async def _past_the_bound(count: int) -> tuple[World, SweepCounts, float]:
    """How long it takes until all is there that the schedule had no room for."""
    world = World(bounds=Bounds(total=40_000, destination=10_000))
    world.away = 0.05  # the log, too, is late now and then
    world.directory.put(destination("back"), destination("gone"))
    world.receiver = Away()
    await world.publish(*(f"e{number}" for number in range(count)))
    life = world.life(SweepPace(page=50, refill_page=50, look=200, slow_look=100, refill_look=200))
    running = asyncio.create_task(life.run(), name="life")
    async with asyncio.timeout(3_600):
        while len(world.receiver.received) < count:
            await asyncio.sleep(1)
    took = (virtual_clock() - BEGIN) / 1000 - 100
    running.cancel()
    await asyncio.wait([running])
    return world, life.sweeper.sweep.counts, took


def test_what_the_schedule_has_no_room_for_comes_as_there_is_some() -> None:
    world, counts, took = run_virtually(_past_the_bound(300))
    assert counts.parked > 200
    assert max(world.receiver.received.values()) == 1
    assert took < 300


async def _stuck() -> tuple[World, Life]:
    """One destination is full, and has been given up by the refills; the loop runs on."""
    world = World(bounds=Bounds(total=40_000, destination=10_000))
    world.directory.put(destination("back"))
    world.receiver = Away()
    await world.publish(*(f"e{number}" for number in range(200)))
    life = world.life(SweepPace(page=50, refill_page=50, look=200, slow_look=100, refill_look=50))
    return world, life


async def _turns_of_others() -> int:
    """How many seconds somebody else could have swept, of 60 s with a full destination."""
    world, life = await _stuck()
    running = asyncio.create_task(life.run(), name="life")
    await asyncio.sleep(60)
    assert life.sweeper.sweep.refills.keys
    free = 0
    for _ in range(30):
        await asyncio.sleep(1)
        if await world.schedule.turn("command", 0.001):
            free += 1
    running.cancel()
    await asyncio.wait([running])
    return free


def test_who_sweeps_by_hand_gets_a_turn_beside_a_destination_without_room() -> None:
    assert run_virtually(_turns_of_others()) > 0


async def _lost_while_full() -> World:
    world, life = await _stuck()
    running = asyncio.create_task(life.run(), name="life")
    await asyncio.sleep(60)
    world.schedule.clear()
    async with asyncio.timeout(3_600):
        while len(world.receiver.received) < 200:
            await asyncio.sleep(1)
    running.cancel()
    await asyncio.wait([running])
    return world


def test_what_a_full_destination_had_parked_comes_though_redis_lost_it() -> None:
    world = run_virtually(_lost_while_full())
    assert max(world.receiver.received.values()) == 1


async def _how_many_rows_are_read(count: int) -> float:
    """Of the log, for each that the schedule had no room for."""
    world = World(bounds=Bounds(total=40_000, destination=10_000))
    world.directory.put(destination("back"))
    world.receiver = Away()
    world.log = log = Counting()
    await world.publish(*(f"e{number}" for number in range(count)))
    pace = SweepPace(
        page=50, refill_page=50, look=200, slow_look=100, refill_look=200, stuck_look=20
    )
    running = asyncio.create_task(world.life(pace).run(), name="life")
    async with asyncio.timeout(3_600):
        while len(world.receiver.received) < count:
            await asyncio.sleep(1)
    running.cancel()
    await asyncio.wait([running])
    return log.read / count


class Counting(MemoryLog):
    """Counts the rows that sweep is given."""

    read = 0

    async def unsettled(
        self, before: int, limit: int, after: DeliveryRef | None = None, **which: Any
    ) -> list[Unsettled]:
        found = await super().unsettled(before, limit, after, **which)
        self.read += len(found)
        return found


def test_ten_times_as_many_without_room_cost_no_more_each() -> None:
    few = run_virtually(_how_many_rows_are_read(100))
    many = run_virtually(_how_many_rows_are_read(1_000))
    assert many < 2 * few


class _Stubborn:
    """Tells of trouble, as clients do that are cancelled while they connect."""

    async def intact_for(self) -> float | None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Unavailable("kafka_unreachable", "cancelled") from None
        return 0.0

    async def run(self) -> None:
        await asyncio.Event().wait()

    keep_turn = run


async def test_it_ends_when_it_is_cancelled_in_the_middle_of_trouble() -> None:
    sweep: Any = SimpleNamespace(schedule=_Stubborn(), refills=_Stubborn(), orphans=_Stubborn())
    running = asyncio.create_task(Sweeper(sweep, lambda: 0).run())
    await asyncio.sleep(0.01)
    running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await running


class _Interrupted(_Stubborn):
    """Ends its first look as if somebody had cancelled it."""

    looks = 0

    async def intact_for(self) -> float | None:
        self.looks += 1
        if self.looks == 1:
            raise asyncio.CancelledError
        return await super().intact_for()


async def test_it_goes_on_after_a_cancellation_that_was_not_meant_for_it() -> None:
    schedule = _Interrupted()
    sweep: Any = SimpleNamespace(schedule=schedule, refills=_Stubborn(), orphans=_Stubborn())
    pace = SweeperPace(check=0.01)
    running = asyncio.create_task(Sweeper(sweep, lambda: 0, pace).run())
    await until(lambda: schedule.looks == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class _Passes:
    """A sweep that notes how each pass was called."""

    def __init__(self, schedule: MemorySchedule) -> None:
        self.schedule = schedule
        self.hurried: list[bool] = []
        self.refills = self.orphans = self

    async def __call__(self, _before: int, *, hurry: bool) -> int:
        self.hurried.append(hurry)
        return 0

    async def run(self) -> None:
        await asyncio.Event().wait()

    keep_turn = run

    def forget(self) -> None:
        """No refill runs."""


async def _first_pass(schedule: MemorySchedule) -> bool:
    """Of a process that has just started: does it hurry?"""
    passes: Any = _Passes(schedule)
    running = asyncio.create_task(Sweeper(passes, virtual_clock).run())
    await until(lambda: bool(passes.hurried))
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return bool(passes.hurried[0])


async def test_whoever_sweeps_after_a_loss_hurries_even_when_another_one_had_noticed_it() -> None:
    now = [0]
    schedule = MemorySchedule(Topics(), Bounds(1 << 20, 1 << 20), clock=lambda: now[0])
    assert await _first_pass(schedule)
    now[0] += 100_000
    assert await _first_pass(schedule)
    now[0] += 100_000
    assert not await _first_pass(schedule)


async def test_clocks_that_are_set_back_neither_keep_it_from_sweeping_nor_make_it_hurry() -> None:
    clock, redis = [10_000_000], [0]
    schedule = MemorySchedule(Topics(), Bounds(1 << 20, 1 << 20), clock=lambda: redis[0])
    await schedule.mark()
    redis[0] = -3_600_000
    passes: Any = _Passes(schedule)
    sweeper = Sweeper(passes, lambda: clock[0])
    await sweeper._once()
    await sweeper._once()
    assert passes.hurried == [False]
    clock[0] -= 3_600_000
    await sweeper._once()
    assert passes.hurried == [False, False]


async def test_a_turn_is_kept_during_a_long_look_and_lapses_with_its_process() -> None:
    now = [0]
    schedule = MemorySchedule(Topics(), Bounds(1 << 20, 1 << 20), clock=lambda: now[0])

    async def pause(seconds: float) -> None:
        now[0] += round(seconds * 1000)
        await asyncio.sleep(0)

    one, other = (_orphans(schedule, pause) for _ in range(2))
    assert await one.is_mine()
    keeping = asyncio.create_task(one.keep_turn())
    await until(lambda: now[0] > 5 * TURN * 1000)
    assert not await other.is_mine()
    keeping.cancel()
    now[0] += round(TURN * 1000)
    assert await other.is_mine()


def _orphans(schedule: MemorySchedule, pause: Callable[[float], Awaitable[None]]) -> Orphans:
    nothing: Any = None
    return Orphans(Topics(), nothing, schedule, nothing, nothing, POLICY, pause=pause)
