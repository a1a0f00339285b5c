import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.subscribe import Reading, Retries, subscribe
from event_router.schemas.record import Record
from tests import services
from tests.kafka_clients import committed, config_of, publish
from tests.subscriber import READING
from tests.waiting import until

QUICK = Retries(limit=2, first=0.001)
SOON = Reading(commit_every=0.05, drain=0.2)


@pytest.fixture
def config(kafka: services.Kafka) -> KafkaConfig:
    return config_of(kafka)


@pytest.fixture
async def topic(kafka: services.Kafka) -> str:
    name = services.unique("svc")
    await kafka.make_topics({name: 1})
    return name


@asynccontextmanager
async def stopping(run: Callable[[asyncio.Event], "asyncio.Task[None]"]) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = run(stop)
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


# One process


async def test_a_record_whose_handler_raises_is_tried_again_then_given_to_on_dead(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"bad", b"flaky", b"good"])
    calls, dead = list[bytes | None](), list[tuple[bytes | None, str]]()

    async def handle(record: Record) -> None:
        calls.append(record.value)
        if record.value == b"bad" or (record.value == b"flaky" and calls.count(b"flaky") == 1):
            raise ValueError("no")

    async def bury(record: Record, error: Exception) -> None:
        dead.append((record.value, str(error)))

    def run(stop: asyncio.Event) -> "asyncio.Task[None]":
        return asyncio.create_task(
            subscribe([topic], "g", handle, kafka=config, retries=QUICK, on_dead=bury, stop=stop)
        )

    async with stopping(run):
        await until(lambda: len(calls) == 6 and bool(dead))
    assert (calls.count(b"bad"), calls.count(b"flaky"), calls.count(b"good")) == (3, 2, 1)
    assert dead == [(b"bad", "no")]
    assert await committed(config, "g", topic) == {0: 3}


async def test_nothing_is_committed_before_on_dead_has_taken_it(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"bad", b"good"])
    asked, handled = 0, list[Record]()
    full = asyncio.Event()

    async def handle(record: Record) -> None:
        if record.value == b"bad":
            raise ValueError("no")
        handled.append(record)

    async def bury(record: Record, error: Exception) -> None:
        nonlocal asked
        asked += 1
        if not full.is_set():
            raise OSError("disk full")

    def run(stop: asyncio.Event) -> "asyncio.Task[None]":
        return asyncio.create_task(
            subscribe(
                [topic], "g", handle, kafka=config, retries=QUICK, on_dead=bury, stop=stop,
                reading=SOON,
            )
        )  # fmt: skip

    async with stopping(run):
        await until(lambda: asked > 2 and len(handled) == 1)
        await asyncio.sleep(0.15)
        assert (await committed(config, "g", topic)).get(0, 0) == 0
        full.set()
    assert await committed(config, "g", topic) == {0: 2}


async def test_without_on_dead_a_record_is_retried_for_ever(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"bad"])
    calls = 0

    async def handle(record: Record) -> None:
        nonlocal calls
        calls += 1
        raise ValueError("no")

    def run(stop: asyncio.Event) -> "asyncio.Task[None]":
        slow = Retries(limit=1, first=0.001, longest=0.001)
        return asyncio.create_task(
            subscribe([topic], "g", handle, kafka=config, retries=slow, stop=stop, reading=SOON)
        )

    async with stopping(run):
        await until(lambda: calls > 5)
    assert (await committed(config, "g", topic)).get(0, 0) == 0


async def test_a_handler_that_is_cancelled_from_within_has_failed(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"a"])
    dead = list[Record]()

    async def handle(record: Record) -> None:
        raise asyncio.CancelledError

    async def bury(record: Record, error: Exception) -> None:
        dead.append(record)

    def run(stop: asyncio.Event) -> "asyncio.Task[None]":
        return asyncio.create_task(
            subscribe([topic], "g", handle, kafka=config, retries=QUICK, on_dead=bury, stop=stop)
        )

    async with stopping(run):
        await until(lambda: bool(dead))
    assert await committed(config, "g", topic) == {0: 1}


async def test_a_task_group_that_failed_does_not_make_its_handler_look_cancelled(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"a", b"b"])
    handled, dead = list[bytes | None](), list[bytes | None]()

    async def fail() -> None:
        raise ValueError("no")

    async def handle(record: Record) -> None:
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
        if record.value == b"a":
            raise asyncio.CancelledError
        handled.append(record.value)

    async def bury(record: Record, error: Exception) -> None:
        dead.append(record.value)
        if len(dead) == 1:
            raise asyncio.CancelledError

    def run(stop: asyncio.Event) -> "asyncio.Task[None]":
        return asyncio.create_task(
            subscribe(
                [topic], "g", handle, kafka=config, concurrency=1, retries=QUICK, on_dead=bury,
                stop=stop,
            )
        )  # fmt: skip

    async with stopping(run):
        await until(lambda: bool(handled))
    assert (handled, dead) == ([b"b"], [b"a", b"a"])
    assert await committed(config, "g", topic) == {0: 2}


async def test_a_bad_record_does_not_condemn_the_list_it_came_with(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"a", b"bad", b"b"])
    handled, dead = list[bytes | None](), list[bytes | None]()

    async def handle(records: list[Record]) -> None:
        if b"bad" in values(records):
            raise ValueError("no")
        handled.extend(values(records))

    async def bury(record: Record, error: Exception) -> None:
        dead.append(record.value)

    def run(stop: asyncio.Event) -> "asyncio.Task[None]":
        return asyncio.create_task(
            subscribe(
                [topic], "g", handle, batch=True, kafka=config, retries=QUICK, on_dead=bury,
                stop=stop,
            )
        )  # fmt: skip

    async with stopping(run):
        await until(lambda: len(handled) == 2 and bool(dead))
    assert (handled, dead) == ([b"a", b"b"], [b"bad"])
    assert await committed(config, "g", topic) == {0: 3}


async def test_so_many_handlers_run_at_a_time_and_no_more(config: KafkaConfig, topic: str) -> None:
    await publish(config, topic, [b"%d" % number for number in range(60)])
    running, most, ended = 0, 0, 0

    async def handle(record: Record) -> None:
        nonlocal running, most, ended
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        ended += 1

    def run(stop: asyncio.Event) -> "asyncio.Task[None]":
        return asyncio.create_task(
            subscribe([topic], "g", handle, kafka=config, concurrency=7, stop=stop)
        )

    async with stopping(run):
        await until(lambda: ended == 60)
    assert most == 7


async def test_stopping_does_not_begin_what_waits(config: KafkaConfig, topic: str) -> None:
    await publish(config, topic, [b"%d" % number for number in range(50)])
    begun, ended = list[int](), list[int]()

    async def handle(record: Record) -> None:
        begun.append(record.offset)
        await asyncio.sleep(0.1)
        ended.append(record.offset)

    def run(stop: asyncio.Event) -> "asyncio.Task[None]":
        return asyncio.create_task(
            subscribe([topic], "g", handle, kafka=config, concurrency=2, stop=stop)
        )

    async with stopping(run):
        await until(lambda: len(begun) == 4)
    assert begun == ended == [0, 1, 2, 3]
    assert await committed(config, "g", topic) == {0: 4}


def test_pauses_between_tries_double_up_to_the_longest() -> None:
    retries = Retries(first=0.5, longest=3.0)
    assert [retries.pause(failures) for failures in (1, 2, 3, 4, 500)] == [0.5, 1, 2, 3, 3]


# Processes


class Subscriber:
    """A process that runs `tests.subscriber`."""

    def __init__(self, config: KafkaConfig, topic: str, output: Path) -> None:
        self.output = output
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.subscriber", config.bootstrap, topic, "g", str(output)],
            cwd=services.ROOT,
        )

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines() if self.output.exists() else []

    def ended(self) -> set[str]:
        return {line.removeprefix("end ") for line in self.lines() if line.startswith("end ")}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    async def terminate(self) -> float:
        """Seconds until it was gone."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, 15) == 0
        return time.monotonic() - began


@pytest.fixture
async def crew(config: KafkaConfig, tmp_path: Path) -> AsyncIterator[Callable[[str], Subscriber]]:
    members: list[Subscriber] = []

    def join(topic: str) -> Subscriber:
        members.append(Subscriber(config, topic, tmp_path / f"member-{len(members)}"))
        return members[-1]

    yield join
    for member in members:
        with contextlib.suppress(ProcessLookupError):
            member.kill()


def all_ended(*members: Subscriber) -> set[str]:
    return set[str]().union(*(member.ended() for member in members))


async def test_a_killed_subscriber_loses_nothing_and_not_its_unfinished_first_record(
    config: KafkaConfig, topic: str, crew: Callable[[str], Subscriber]
) -> None:
    others = [b"%d" % number for number in range(200)]
    await publish(config, topic, [b"stuck", *others])
    first = crew(topic)
    await until(lambda: len(first.ended()) == 200)
    await asyncio.sleep(0.5)  # it commits twice
    first.kill()
    assert (await committed(config, "g", topic)).get(0, 0) == 0
    second = crew(topic)
    await until(lambda: "begin stuck" in second.lines() and len(second.ended()) == 200)


async def test_a_terminated_subscriber_leaves_in_time_and_holds_its_slow_record_back(
    config: KafkaConfig, topic: str, crew: Callable[[str], Subscriber]
) -> None:
    await publish(config, topic, [b"a", b"stuck", b"b"])
    member = crew(topic)
    await until(lambda: member.ended() == {"a", "b"} and "begin stuck" in member.lines())
    assert await member.terminate() < READING.drain + 2
    assert member.lines()[-1] == "left"
    assert await committed(config, "g", topic) == {0: 1}


async def test_a_stuck_record_does_not_hold_up_its_group(
    kafka: services.Kafka, config: KafkaConfig, crew: Callable[[str], Subscriber]
) -> None:
    topic = services.unique("stuck")
    await kafka.make_topics({topic: 2})
    await publish(config, topic, [b"stuck"], 0)
    first = crew(topic)
    await until(lambda: "begin stuck" in first.lines())
    second = crew(topic)
    sent = set[str]()
    async with asyncio.timeout(READING.drain + 10):
        while not second.ended():
            for number in (0, 1):
                name = f"{number}-{len(sent)}"
                await publish(config, topic, [name.encode()], number)
                sent.add(name)
        while all_ended(first, second) != sent:
            await asyncio.sleep(0.05)


async def test_members_that_join_leave_and_die_lose_nothing(
    kafka: services.Kafka, config: KafkaConfig, crew: Callable[[str], Subscriber]
) -> None:
    topic = services.unique("chaos")
    await kafka.make_topics({topic: 4})
    sent, enough = set[str](), asyncio.Event()

    async def produce() -> None:
        while not enough.is_set():
            for number in range(4):
                names = [f"{len(sent) + index}" for index in range(50)]
                await publish(config, topic, [name.encode() for name in names], number)
                sent.update(names)
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(produce())
        members = [crew(topic), crew(topic)]
        for disturbance in ("kill", "join", "terminate", "join", "kill", "join"):
            await until(lambda: bool(members[-1].ended()), 30)
            await asyncio.sleep(0.5)
            if disturbance == "join":
                members.append(crew(topic))
            elif disturbance == "kill":
                members[-1].kill()
            else:
                await members[-1].terminate()
        enough.set()
    await until(lambda: all_ended(*members) == sent, 30)
