"""The delivery worker over ports in memory: what it starts, what it keeps, how it lets go."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from event_router.consumers import open_sinks
from event_router.consumers.delivery_worker import DeliveryWorker, WorkerLimits
from event_router.consumers.health import Health
from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.ports import (
    Batch,
    Held,
    Lease,
    Parked,
    ParkResult,
    Producer,
    Result,
    Sink,
    TenantView,
)
from event_router.router.clock import now_ms
from event_router.schemas.attempt import Attempt, AttemptHead
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.errors import Answer, Rejected, TooLarge, Unavailable
from event_router.schemas.record import Message, Place, Record
from event_router.schemas.wire import delivery_message, read_delivery, read_outcome
from tests.loop import Receiver, World, destination, unavailable
from tests.waiting import until

LIMITS = WorkerLimits(
    slots=16, lease=3_000.0, slow_after=0.1, keep_every=0.01, poll_every=0.01, flush_pause=0.001
)


SPEED = 200


def fast_clock() -> int:
    """Milliseconds that pass SPEED times as fast, and so do leases: LIMITS has long ones."""
    return int(time.monotonic() * 1000 * SPEED)


class Away:
    """Kafka, which takes what is written once it is `back`."""

    def __init__(self, broker: Producer) -> None:
        self.broker = broker
        self.back = asyncio.Event()

    async def send(
        self, messages: Sequence[Message], deadline: float | None = None
    ) -> list[Place | TooLarge]:
        await self.back.wait()
        return await self.broker.send(messages, deadline)

    async def aclose(self) -> None:
        await self.broker.aclose()


@dataclass
class Narrow:
    """Kafka, with topics that take messages of at most `most` bytes."""

    broker: Producer
    most: int

    async def send(
        self, messages: Sequence[Message], deadline: float | None = None
    ) -> list[Place | TooLarge]:
        return [await self._sent(message) for message in messages]

    async def _sent(self, message: Message) -> Place | TooLarge:
        size = sum(len(value or b"") for _, value in message.headers) + len(message.value or b"")
        if size > self.most:
            return TooLarge(f"{size} bytes")
        (place,) = await self.broker.send([message])
        return place

    async def aclose(self) -> None:
        await self.broker.aclose()


@dataclass
class Batched:
    """A sink that takes up to ten in one call, and refuses those named `e13`."""

    calls: list[list[str]] = field(default_factory=list)
    batch: Batch = field(default_factory=lambda: Batch(count=10, bytes=1 << 20))

    async def deliver(self, _: Delivery) -> Answer:
        raise AssertionError("all come in batches")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        names = [one.head.event for one in deliveries]
        self.calls.append(names)
        await asyncio.sleep(0.01)
        return [Rejected("odd") if name == "e13" else Answer("OK") for name in names]

    async def aclose(self) -> None:
        """Nothing is held open."""


class Hanging(Receiver):
    """A sink that never closes."""

    async def aclose(self) -> None:
        await asyncio.Event().wait()


class Stubborn:
    """A sink that can't be interrupted once it has begun."""

    async def deliver(self, _: Delivery) -> Answer:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return Answer("OK")

    async def aclose(self) -> None:
        """Nothing is held open."""


@dataclass
class Mistaken:
    """A user's own sink, which makes a mistake at destination `d`."""

    mistake: Callable[[], Awaitable[Any]]

    async def deliver(self, delivery: Delivery) -> Answer:
        taken = delivery.head.destination != "d"
        answer: Answer = Answer("OK") if taken else await self.mistake()
        return answer

    async def aclose(self) -> None:
        """Nothing is held open."""


async def its_client_is_cancelled() -> Any:
    call: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    call.cancel()
    return await call


async def it_answers_nothing() -> Any:
    return None


async def it_answers_text() -> Any:
    text: Any = "taken"
    return Answer("OK", 200, text)


async def it_names_a_time_in_words() -> Any:
    words: Any = "soon"
    raise Unavailable("busy", retry_after=words)


def worker_of(
    world: World,
    limits: WorkerLimits = LIMITS,
    kafka: Producer | None = None,
    sink: Sink | None = None,
    gone: Collection[Record] = (),
) -> DeliveryWorker:
    worker = DeliveryWorker(
        topics=world.topics,
        directory=world.directory,
        schedule=world.schedule,
        producer=kafka or world.broker,
        sinks=OpenSinks(lambda _: sink or world.receiver),
        done=lambda records: world.broker.finish("deliver", records),
        health=Health(),
        clock=fast_clock,
        holds=lambda record: all(record is not one for one in gone),
        limits=limits,
    )
    worker.assigned(range(world.topics.partitions))
    return worker


@asynccontextmanager
async def working(
    world: World,
    limits: WorkerLimits = LIMITS,
    kafka: Producer | None = None,
    sink: Sink | None = None,
    gone: Collection[Record] = (),
) -> AsyncIterator[DeliveryWorker]:
    """`gone` are records whose partition was taken away since they were read."""
    worker = worker_of(world, limits, kafka, sink, gone)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(stop, drain=0.05))
        await asyncio.sleep(0)
        yield worker
        stop.set()


def delivery(event: str = "e1", to: str = "d") -> Delivery:
    origin = Place("events", 0, int(event[1:]), 1)
    head = DeliveryHead("acme", event, to, origin, "t", "2026-01-01T00:00:00Z", "test", 1)
    return Delivery(head, b'{"n": 1}')


async def records(world: World, *deliveries: Delivery) -> list[Record]:
    await world.broker.send([delivery_message(one, world.topics) for one in deliveries])
    return world.broker.records(world.topics.deliveries)


async def records_of(world: World, one: Delivery) -> list[Record]:
    """Its own only."""
    return [each for each in await records(world, one) if read_delivery(each).head == one.head]


def attempts(world: World) -> list[AttemptHead]:
    outcomes = map(read_outcome, world.broker.records(world.topics.attempts))
    return [outcome.head for outcome in outcomes if isinstance(outcome, Attempt)]


def unfinished(world: World) -> int:
    return len(world.broker.unfinished("deliver", world.topics.deliveries))


async def entries(world: World) -> int:
    return (await world.schedule.stats()).entries


async def test_an_offset_is_done_once_its_attempt_is_in_kafka() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    async with working(world) as worker:
        await worker.take(await records(world, delivery()))
        await until(lambda: unfinished(world) == 0)
        assert [one.outcome for one in attempts(world)] == ["delivered"]
        assert await entries(world) == 0


async def test_an_attempt_that_takes_long_holds_no_offset_and_is_made_once() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    world.receiver.delay = lambda: 0.3
    async with working(world) as worker:
        await worker.take(await records(world, delivery()))
        await until(lambda: unfinished(world) == 0)
        assert attempts(world) == [], "its offset is done while it runs"
        assert (await world.schedule.stats()).leased == 1
        await until(lambda: len(attempts(world)) == 1)
        await asyncio.sleep(0.1)
        await until(lambda: len(worker.running) == 0)
        assert world.receiver.received["d", "e1"] == 1
    assert await entries(world) == 0


async def test_what_came_to_another_workers_partition_goes_to_its_own_worker() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    home = world.topics.partition_of("acme", "d")
    async with working(world) as here, working(world) as there:
        here.assigned([one for one in range(world.topics.partitions) if one != home])
        there.assigned([home])
        await here.take(await records(world, delivery()))
        await until(lambda: unfinished(world) == 0)
        await until(lambda: len(attempts(world)) == 1)
        assert (here.counts.delivered, there.counts.delivered) == (0, 1)
    assert world.receiver.received["d", "e1"] == 1
    assert await entries(world) == 0


async def test_a_sink_that_does_not_close_holds_up_neither_offsets_nor_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_sinks, "CLOSING", 0.2)
    world = World(now_ms)
    hanging = Hanging()
    async with asyncio.timeout(10), working(world, sink=hanging) as worker:
        for version in ("1", "2"):
            world.directory.put(destination("d", version=version))
            await worker.take(await records_of(world, delivery(f"e{version}")))
            await until(lambda: unfinished(world) == 0)
        hanging.delay = lambda: 30.0
        await asyncio.sleep(0.02)
        await worker.take(await records_of(world, delivery("e3")))
        await until(lambda: unfinished(world) == 0)


async def test_a_lease_is_renewed_for_as_long_as_the_attempt_runs() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    world.receiver.delay = lambda: 0.6
    limits = replace(LIMITS, lease=0.15)
    async with working(world, limits) as worker:
        await worker.take(await records(world, delivery()))
        await until(lambda: len(attempts(world)) == 1)
        await asyncio.sleep(0.1)
        assert world.receiver.received["d", "e1"] == 1, "nobody claimed it meanwhile"


async def test_a_lease_is_renewed_until_kafka_has_the_report() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    await world.schedule.park([Parked(delivery("e1"), 0)])
    kafka = Away(world.broker)
    async with working(world, replace(LIMITS, lease=0.3), kafka):
        await until(lambda: world.receiver.received["d", "e1"] == 1)
        await asyncio.sleep(1.0)
        kafka.back.set()
        await until(lambda: len(attempts(world)) == 1)
    assert world.receiver.received["d", "e1"] == 1, "nobody claimed it meanwhile"
    assert await entries(world) == 0


async def test_what_is_read_again_while_its_report_waits_is_not_attempted_again() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    kafka = Away(world.broker)
    async with working(world, kafka=kafka) as worker:
        read = await records(world, delivery("e1"), delivery("e2"))
        await worker.take(read)
        await until(lambda: world.receiver.received.total() == 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await worker.release(range(world.topics.partitions), drain=0.02)
        worker.assigned(range(world.topics.partitions))
        await worker.take([msgspec.structs.replace(record) for record in read])
        kafka.back.set()
        await until(lambda: unfinished(world) == 0)
    assert world.receiver.received == {("d", "e1"): 1, ("d", "e2"): 1}
    assert len({one.delivery.event for one in attempts(world)}) == 2


async def test_it_stops_without_kafka_and_leaves_the_offset_undone() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    async with asyncio.timeout(10), working(world, kafka=Away(world.broker)) as worker:
        await worker.take(await records(world, delivery("e1")))
        await until(lambda: world.receiver.received["d", "e1"] == 1)
    assert unfinished(world) == 1


async def test_attempts_are_reported_while_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    await world.schedule.park([Parked(delivery("e1"), 0)])

    async def away(_: Sequence[Lease]) -> None:
        raise Unavailable("redis", "nobody answers")

    monkeypatch.setattr(world.schedule, "finish", away)
    async with working(world) as worker:
        await until(lambda: len(attempts(world)) == 1)
        await worker.take(await records(world, delivery("e2")))
        await until(lambda: len(attempts(world)) == 2)
        assert (unfinished(world), await entries(world)) == (0, 1)
        monkeypatch.undo()
    assert await entries(world) == 0


async def test_who_is_slow_is_seen_to_be_so_while_redis_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(now_ms)
    world.directory.put(destination("d"), destination("other"))

    async def away(_: Sequence[Held], seconds: float) -> list[Lease | None]:
        raise Unavailable("redis", "nobody answers")

    async with working(world, replace(LIMITS, drags_after=0.05)) as worker:
        await worker.take(await records(world, delivery("e1"), delivery("e2", to="other")))
        await until(lambda: len(worker.room.trusted) == 2)
        monkeypatch.setattr(world.schedule, "hold", away)
        world.receiver.delay = lambda: 30.0
        await worker.take(await records_of(world, delivery("e3")))
        await until(lambda: len(worker.room.trusted) == 1)
        await asyncio.sleep(0.2)
        await worker.take(await records_of(world, delivery("e4", to="other")))
        await until(lambda: not worker.room.trusted)


async def test_nothing_more_is_claimed_while_many_attempts_wait_for_kafka() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    many = [Parked(delivery(f"e{number}"), 0) for number in range(40)]
    await world.schedule.park(many)
    kafka = Away(world.broker)
    async with working(world, replace(LIMITS, unreported=4), kafka) as worker:
        await until(lambda: worker.counts.delivered > 4)
        await asyncio.sleep(0.2)
        assert worker.counts.delivered < len(many)
        kafka.back.set()
        await until(lambda: len(attempts(world)) == len(many))
    assert set(world.receiver.received.values()) == {1}


async def test_what_still_runs_at_the_stop_is_parked_with_the_same_attempt() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    world.receiver.delay = lambda: 30.0
    async with working(world) as worker:
        await worker.take(await records(world, delivery()))
    assert unfinished(world) == 0
    assert attempts(world) == []
    look = await world.schedule.due(range(world.topics.shards), {})
    assert [one.at <= look.now for one in look.due] == [True], "it is due at once"


async def test_what_ends_although_it_was_cancelled_at_the_stop_is_reported_and_not_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    held: list[Held] = []
    hold = world.schedule.hold

    async def noted(running: Sequence[Held], seconds: float) -> list[Lease | None]:
        held.extend(running)
        return await hold(running, seconds)

    monkeypatch.setattr(world.schedule, "hold", noted)
    async with working(world, replace(LIMITS, slow_after=60.0), sink=Stubborn()) as worker:
        await worker.take(await records(world, delivery()))
    assert [one.outcome for one in attempts(world)] == ["delivered"]
    assert (held, unfinished(world)) == ([], 0)


async def test_partitions_that_go_leave_no_offset_behind() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    world.receiver.delay = lambda: 0.3
    async with working(world) as worker:
        await worker.take(await records(world, delivery()))
        await worker.release(range(world.topics.partitions), drain=0.02)
        assert unfinished(world) == 0
        assert (await world.schedule.stats()).leased == 1
        await until(lambda: len(attempts(world)) == 1)


async def test_partitions_go_as_soon_as_a_slow_attempt_is_in_the_schedule() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    world.receiver.delay = lambda: 30.0
    async with working(world) as worker:
        await worker.take(await records(world, delivery()))
        async with asyncio.timeout(3.0):
            await worker.release(range(world.topics.partitions), drain=3.0)
        assert unfinished(world) == 0


async def test_what_is_taken_away_before_it_begins_is_left_to_whoever_reads_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    back, views = asyncio.Event(), world.directory.views
    gone: list[Record] = []

    async def late(tenants: Collection[str]) -> Mapping[str, TenantView]:
        await back.wait()
        return await views(tenants)

    monkeypatch.setattr(world.directory, "views", late)
    async with working(world, gone=gone) as worker:
        read = await records(world, delivery("e1"), delivery("e2"))
        taking = asyncio.create_task(worker.take(read))
        await asyncio.sleep(0.01)
        await worker.release(range(world.topics.partitions), drain=0.02)
        gone += read
        worker.assigned(range(world.topics.partitions))
        back.set()
        await taking
        await worker.take([msgspec.structs.replace(record) for record in read])
        await until(lambda: unfinished(world) == 0)
    assert world.receiver.received == {("d", "e1"): 1, ("d", "e2"): 1}


async def test_what_is_taken_away_before_redis_takes_it_is_not_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(now_ms)
    world.directory.put(destination("d", disabled_at=1))
    park = world.schedule.park
    gone: list[Record] = []

    async def away(_: Sequence[Parked]) -> list[ParkResult]:
        raise Unavailable("redis", "nobody answers")

    monkeypatch.setattr(world.schedule, "park", away)
    async with working(world, gone=gone) as worker:
        read = await records(world, delivery("e1"), delivery("e2"))
        await worker.take(read)
        await asyncio.sleep(0.01)
        gone.append(read[0])
        monkeypatch.setattr(world.schedule, "park", park)
        await until(lambda: unfinished(world) == 0)
        assert await entries(world) == 1


async def test_a_disabled_destination_keeps_what_waits_until_it_is_enabled() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d", disabled_at=1))
    async with working(world) as worker:
        await worker.take(await records(world, delivery()))
        await until(lambda: unfinished(world) == 0)
        await asyncio.sleep(0.1)
        assert attempts(world) == []
        world.directory.put(destination("d", disabled_at=None))
        await world.schedule.door(delivery().head.key, 0)
        await until(lambda: len(attempts(world)) == 1)


async def test_what_waits_for_a_disabled_destination_is_given_up_once_it_is_too_old() -> None:
    world = World(now_ms)
    world.directory.put(destination("d", disabled_at=1))
    old = delivery("e1")
    young = Delivery(msgspec.structs.replace(delivery("e2").head, began=now_ms()), b"{}")
    await world.schedule.park([Parked(old, 0), Parked(young, 0)])
    async with working(world, replace(LIMITS, max_age=60.0)) as worker:
        await until(lambda: len(attempts(world)) == 1)
        await asyncio.sleep(0.1)
        assert worker.counts.claimed == 2, "the young one is looked at again in a minute"
    [attempt] = attempts(world)
    assert (attempt.delivery.event, attempt.outcome, attempt.code) == ("e1", "rejected", "too_old")
    assert (await world.schedule.stats())[::2] == (1, 0)
    assert not world.receiver.received


async def test_an_unreadable_destination_keeps_what_waits_and_the_others_go_on() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d", unreadable="its key is missing"), destination("other"))
    async with working(world) as worker:
        await worker.take(await records(world, delivery(), delivery("e2", to="other")))
        await until(lambda: unfinished(world) == 0)
        await until(lambda: len(attempts(world)) == 1)
        await asyncio.sleep(0.1)
        assert [one.delivery.destination for one in attempts(world)] == ["other"]
        world.directory.put(destination("d"))
        await world.schedule.door(delivery().head.key, 0)
        await until(lambda: world.receiver.received["d", "e1"] == 1)


async def test_what_waits_for_an_unreadable_destination_is_given_up_once_it_is_too_old() -> None:
    world = World(now_ms)
    world.directory.put(destination("d", unreadable="its key is missing"))
    await world.schedule.park([Parked(delivery("e1"), 0)])
    async with working(world, replace(LIMITS, max_age=60.0)):
        await until(lambda: len(attempts(world)) == 1)
    [attempt] = attempts(world)
    assert (attempt.outcome, attempt.code) == ("rejected", "destination_unreadable")
    assert not world.receiver.received


async def test_a_deleted_destination_is_reported_as_such() -> None:
    world = World(fast_clock)
    async with working(world) as worker:
        await worker.take(await records(world, delivery()))
        await until(lambda: len(attempts(world)) == 1)
    [attempt] = attempts(world)
    assert (attempt.outcome, attempt.code) == ("rejected", "destination_deleted")


async def test_what_finds_no_room_waits_a_moment_in_line_and_is_never_parked() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    world.receiver.delay = lambda: 0.01
    many = [delivery(f"e{number}") for number in range(10)]
    async with working(world, replace(LIMITS, slow_after=5.0)) as worker:
        await worker.take(await records(world, *many))
        assert len(worker.line) == 9, "a new one has a sixteenth of 16 slots"
        await until(lambda: len(attempts(world)) == 10)
        assert worker.counts.held == 0
    assert set(world.receiver.received.values()) == {1}


async def test_what_waits_long_is_parked_and_comes_back_when_there_is_room() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    world.receiver.delay = lambda: 0.25
    many = [delivery(f"e{number}") for number in range(5)]
    async with working(world) as worker:
        await worker.take(await records(world, *many))
        await until(lambda: unfinished(world) == 0)
        assert worker.counts.held == 4
        world.receiver.delay = lambda: 0.0
        await until(lambda: len(attempts(world)) == 5)
    assert set(world.receiver.received.values()) == {1}


async def test_what_is_due_for_many_takes_no_more_slots_than_there_are() -> None:
    world = World(fast_clock)
    names = [f"d{number}" for number in range(30)]
    world.directory.put(*map(destination, names))
    world.receiver.delay = lambda: 0.02
    await world.schedule.park([Parked(delivery(f"e{n}", to), 0) for to in names for n in range(2)])
    most = 0
    async with working(world, replace(LIMITS, slots=4)) as worker:
        while len(attempts(world)) < 60:
            most = max(most, len(worker.running))
            await asyncio.sleep(0.001)
    assert most == 4
    assert set(world.receiver.received.values()) == {1}


async def test_while_the_worker_stands_still_nobody_else_is_slow() -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))
    async with working(world, replace(LIMITS, drags_after=0.1)) as worker:
        await worker.take(await records(world, delivery("e1")))
        await until(lambda: len(attempts(world)) == 1)
        world.receiver.delay = lambda: 0.03
        await worker.take((await records(world, delivery("e2")))[1:])
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251  that is the point
        await until(lambda: len(attempts(world)) == 2)
        assert delivery().head.key in worker.room.trusted


async def test_told_to_park_it_attempts_nothing_new() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    async with working(world) as worker:
        worker.park_everything()
        await worker.take(await records(world, delivery()))
        await until(lambda: unfinished(world) == 0)
        await asyncio.sleep(0.05)
        assert attempts(world) == []
        assert await entries(world) == 1


async def test_after_failures_in_a_row_only_a_probe_is_sent_until_one_succeeds() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    world.receiver.answers["d"] = [unavailable("500")] * 6
    for number in range(6):
        await world.schedule.park([Parked(delivery(f"e{number}"), 0)])
        await asyncio.sleep(0.01)
    async with working(world) as worker:
        await until(lambda: len(attempts(world)) >= 6)
        for number in range(6, 9):
            await world.schedule.park([Parked(delivery(f"e{number}"), 0)])
        await until(lambda: len(attempts(world)) == 9)
        assert worker.room.backoffs == {}, "the probe's success has closed the circuit"


async def test_retry_after_shuts_the_door_for_the_destination() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    world.receiver.answers["d"] = [unavailable("429", retry_after=30.0)]
    async with working(world) as worker:
        await worker.take(await records(world, delivery("e1")))
        await until(lambda: len(attempts(world)) == 1)
        await worker.take((await records(world, delivery("e2")))[1:])
        await until(lambda: unfinished(world) == 0)
        assert len(attempts(world)) == 1, "the second one is held"
        assert await entries(world) == 1
        await until(lambda: len(attempts(world)) == 2)


@pytest.mark.parametrize(
    ("payload", "answered", "reported"),
    [
        (b"1" * 100, b"no" * 1_000, ("failed", "500", "", 100)),
        (b"1" * 2_000, b"no", ("rejected", "message_too_large", "", 0)),
    ],
)
async def test_an_attempt_that_is_too_large_for_its_topic_is_reported_with_less_in_it(
    payload: bytes, answered: bytes, reported: tuple[str, str, str, int]
) -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    world.receiver.answers["d"] = [Unavailable("500", answer=Answer("500", 500, answered))]
    large = Delivery(delivery().head, payload)
    async with working(world, kafka=Narrow(world.broker, 1_500)) as worker:
        await worker.take(await records(world, large))
        await until(lambda: unfinished(world) == 0)
    [record] = world.broker.records(world.topics.attempts)
    [head] = attempts(world)
    assert (head.outcome, head.code, head.body, len(record.value or b"")) == reported


@pytest.mark.parametrize(
    "mistake",
    [its_client_is_cancelled, it_answers_nothing, it_answers_text, it_names_a_time_in_words],
)
async def test_a_mistake_in_a_sink_fails_its_delivery_and_no_other(
    mistake: Callable[[], Awaitable[Any]],
) -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"), destination("other"))
    async with working(world, sink=Mistaken(mistake)) as worker:
        await worker.take(await records(world, delivery("e1"), delivery("e2", to="other")))
        await until(lambda: unfinished(world) == 0)
    assert {one.delivery.destination: one.code for one in attempts(world)} == {
        "d": "sink_error",
        "other": "OK",
    }
    assert not worker.room.running


async def test_a_record_that_is_no_delivery_goes_to_dead() -> None:
    world = World(fast_clock)
    odd = Record(world.topics.deliveries, 0, 0, 1, None, b"?", ())
    async with working(world) as worker:
        await worker.take([odd])
    assert len(world.broker.records(world.topics.dead)) == 1
    assert world.broker.finished["deliver"] == {(odd.topic, 0, 0)}


@pytest.mark.parametrize("due", [False, True], ids=["just read", "due"])
async def test_what_comes_together_is_handed_to_the_sink_together(due: bool) -> None:
    world, sink = World(fast_clock), Batched()
    world.directory.put(destination("d"))
    several = [delivery(f"e{number}") for number in range(30)]
    if due:
        await world.schedule.park([Parked(one, 0) for one in several])
    async with working(world, replace(LIMITS, slots=640), sink=sink) as worker:
        if not due:
            await worker.take(await records(world, *several))
        await until(lambda: len(attempts(world)) == 30)
    assert sorted(name for call in sink.calls for name in call) == sorted(
        one.head.event for one in several
    )
    assert max(map(len, sink.calls)) == 10
    assert len(sink.calls) <= 6
    outcomes = {one.delivery.event: one.outcome for one in attempts(world)}
    assert outcomes.pop("e13") == "rejected"
    assert set(outcomes.values()) == {"delivered"}
    assert unfinished(world) == 0


async def test_of_one_that_answers_at_once_more_is_claimed_than_it_has_slots() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    async with working(world) as worker:
        await worker.take(await records(world, delivery("e0")))
        await until(lambda: worker.counts.delivered == 1)
        await world.schedule.park([Parked(delivery(f"e{number}"), 0) for number in range(1, 101)])
        await until(lambda: len(worker.line) > 0)
        claimed = worker.counts.claimed
        assert claimed > LIMITS.slots
        await until(lambda: len(attempts(world)) == 101)
    assert set(world.receiver.received.values()) == {1}
    assert await entries(world) == 0


async def test_what_was_claimed_and_had_no_turn_is_handed_back_at_the_stop() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"))
    async with working(world, replace(LIMITS, slow_after=60.0)) as worker:
        await worker.take(await records(world, delivery("e0")))
        await until(lambda: worker.counts.delivered == 1)
        world.receiver.delay = lambda: 60.0
        await world.schedule.park([Parked(delivery(f"e{number}"), 0) for number in range(1, 101)])
        await until(lambda: len(worker.line) > 0)
    assert await entries(world) == 100
    look = await world.schedule.due(range(world.topics.shards), {})
    assert [one.at <= look.now for one in look.due] == [True], "it is due at once"
    assert (await world.schedule.stats()).leased == 0


async def test_others_are_attempted_while_redis_takes_its_time_over_a_burst(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(now_ms)
    world.directory.put(destination("d", disabled_at=1), destination("other"))
    back, park = asyncio.Event(), world.schedule.park

    async def slowly(entries: Sequence[Parked]) -> list[ParkResult]:
        await back.wait()
        return await park(entries)

    monkeypatch.setattr(world.schedule, "park", slowly)
    async with working(world) as worker:
        await worker.take(await records(world, *(delivery(f"e{one}") for one in range(50))))
        await worker.take((await records(world, delivery("e50", to="other")))[-1:])
        await until(lambda: len(attempts(world)) == 1)
        assert unfinished(world) == 50
        back.set()
        await until(lambda: unfinished(world) == 0)
    assert await entries(world) == 50


async def test_it_stops_in_time_though_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(now_ms)
    world.directory.put(destination("d", disabled_at=1), destination("slow"))
    world.receiver.delay = lambda: 60.0

    async def away(*_: object) -> None:
        raise Unavailable("redis", "nobody answers")

    for call in ("park", "hold", "due"):
        monkeypatch.setattr(world.schedule, call, away)
    async with asyncio.timeout(5), working(world) as worker:
        await worker.take(await records(world, delivery("e1"), delivery("e2", to="slow")))
        await until(lambda: len(worker.running) == 1)
    assert unfinished(world) == 2, "whoever reads next attempts them"


async def test_nothing_more_is_read_while_much_is_on_its_way_into_the_schedule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(now_ms)
    world.directory.put(destination("d", disabled_at=1))
    back, park = asyncio.Event(), world.schedule.park

    async def slowly(entries: Sequence[Parked]) -> list[ParkResult]:
        await back.wait()
        return await park(entries)

    monkeypatch.setattr(world.schedule, "park", slowly)
    async with working(world, replace(LIMITS, parking=10)) as worker:
        read = await records(world, *(delivery(f"e{one}") for one in range(50)))
        await worker.take(read[:10])
        await asyncio.sleep(0.01)
        await worker.take(read[10:40])
        taking = asyncio.create_task(worker.take(read[40:]))
        await asyncio.sleep(0.05)
        assert not taking.done()
        back.set()
        await taking
        await until(lambda: unfinished(world) == 0)


async def test_while_the_worker_is_late_for_others_a_burst_has_few_slots() -> None:
    world = World(fast_clock)
    world.directory.put(destination("d"), destination("other"))
    hurried: list[bool] = []
    async with working(world, replace(LIMITS, long_list=100, late=60.0)) as worker:
        burst = [delivery(f"e{one}") for one in range(100)]
        read = await records(world, *burst, delivery("e100", to="other"))
        for pause in (0.0, 0.5):
            await asyncio.sleep(pause)
            await worker.take(read)
            hurried.append(worker.room.hurry)
        await worker.take((await records(world, delivery("e101")))[-1:])
        hurried.append(worker.room.hurry)
    assert hurried == [False, True, False]


async def test_a_worker_that_is_cancelled_as_it_begins_to_stop_leaves_nothing_unawaited() -> None:
    """A coroutine that nobody awaits is a warning, and that is an error here."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker_of(World(fast_clock)).run(stop, drain=1.0))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
