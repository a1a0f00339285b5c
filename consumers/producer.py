"""The producer: lists of messages in, places out, whatever happens to Kafka in between.

Each partition has a lane with one batch in flight; what is sent meanwhile gathers and goes with
the next one. So single messages of many callers share batches without waiting for company, and a
partition without a leader holds up no other.

What may go anywhere changes over to the lane of a partition that has a leader. A batch in flight
does so as soon as Kafka says that its partition has none, not before: it may have been written, and
then is written twice.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple, Protocol

from event_router.consumers.deadlines import Deadlines
from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.trouble import NOTHING_SENT
from event_router.consumers.kafka.writer import Writer, wire_size
from event_router.consumers.murmur2 import partition_of_key
from event_router.consumers.patience import FIRST_PAUSE, LONGEST_PAUSE
from event_router.schemas.errors import TooLarge, Unavailable
from event_router.schemas.record import Message, Place

log = logging.getLogger(__name__)

DEPENDENCY = "kafka producer"
BATCH_RECORDS = 2000
LATE = 5.0  # seconds without acknowledgement until the role isn't ready
LOOK = 1.0  # seconds between looks whether the partition of a batch in flight has a leader
GRACE = 3.0  # seconds for batches in flight when a writer is closed


class BatchWriter(Protocol):
    """What the producer needs of `kafka.Writer`."""

    async def partitions(self, topic: str) -> int: ...
    def led(self, topic: str) -> list[int]: ...
    async def write(
        self, topic: str, partition: int, messages: Sequence[Message]
    ) -> list[Place]: ...
    async def close(self, grace: float) -> None: ...


class KafkaProducer:
    """Implements `ports.Producer`.

    `limits` are the `max.message.bytes` of topics where they aren't the configured default.
    A write that failed closes the writer, and the next one opens another (see `kafka.Writer`).
    """

    def __init__(
        self,
        config: KafkaConfig,
        health: Health,
        *,
        limits: Mapping[str, int] | None = None,
        open_writer: Callable[[KafkaConfig], Awaitable[BatchWriter]] = Writer.open,
    ) -> None:
        self._config = config
        self._limits = dict(limits or {})
        self._open = open_writer
        self._writer: BatchWriter | None = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._troubles = _Troubles(health)
        self._deadlines = Deadlines()
        self._closed = False

    async def send(
        self, messages: Sequence[Message], deadline: float | None = None
    ) -> list[Place | TooLarge]:
        """As `ports.Producer.send`."""
        if self._closed:
            raise Unavailable("kafka_closed", "the producer is closed")
        call = _Call(len(messages))
        lanes: set[_Lane] = set()
        try:
            with nullcontext() if deadline is None else self._deadlines.within(deadline):
                lanes = self._enqueue(call, messages, await self._partition_counts(call, messages))
                await call.done
        except BaseException as error:
            call.abandoned = True
            for lane in lanes:
                lane.forget(call)
            if isinstance(error, TimeoutError):
                raise call.late(deadline) from None
            raise
        return call.results

    async def aclose(self) -> None:
        """What isn't acknowledged yet raises Unavailable."""
        self._closed = True
        running = [lane.task for lane in self._lanes.values() if lane.task]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._writer is not None:
            self._discard(self._writer)
        await asyncio.gather(*self._closing)

    async def _partition_counts(self, call: "_Call", messages: Sequence[Message]) -> dict[str, int]:
        topics = {message.topic for message in messages if message.partition is None}
        return {topic: await self._partition_count(call, topic) for topic in topics}

    async def _partition_count(self, call: "_Call", topic: str) -> int:
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    return await (await self._current()).partitions(topic)
                except Unavailable as trouble:
                    if trouble.code in self._config.at_once:
                        raise
                    call.trouble = trouble
                    self._troubles.add(topic, str(trouble))
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            self._troubles.over(topic)

    def _enqueue(
        self, call: "_Call", messages: Sequence[Message], partitions: Mapping[str, int]
    ) -> set["_Lane"]:
        dice = random.getrandbits(30)  # keyless messages of one list stay together
        lanes: set[_Lane] = set()
        for index, message in enumerate(messages):
            refusal = self._too_large(message)
            if refusal:
                call.settle(index, refusal)
                continue
            partition = message.partition
            if partition is None:
                count = partitions[message.topic]
                partition = partition_of_key(message.key, count) if message.key else dice % count
            lane = self._lane(message.topic, partition)
            lane.waiting.append(_Entry(call, index, message))
            lanes.add(lane)
        for lane in lanes:
            self._start(lane)
        return lanes

    def _too_large(self, message: Message) -> TooLarge | None:
        limit = self._limits.get(message.topic, self._config.max_message_bytes)
        size = wire_size(message)
        if size <= limit:
            return None
        return TooLarge(f"{size} bytes, and topic {message.topic!r} takes {limit}")

    def _lane(self, topic: str, partition: int) -> "_Lane":
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane(topic, partition)
        return lane

    def _start(self, lane: "_Lane") -> None:
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._drive(lane), name=f"produce {lane.name}")
            lane.task.add_done_callback(partial(self._ended, lane))

    def _ended(self, lane: "_Lane", task: asyncio.Task[None]) -> None:
        if task.cancelled():
            lane.fail(Unavailable("kafka_closed", "the producer is closed"))
        elif error := task.exception():
            log.error("producer.lane.broken", extra={"lane": lane.name}, exc_info=error)
            lane.fail(error)

    async def _drive(self, lane: "_Lane") -> None:
        """Until nothing waits in the lane."""
        pause = FIRST_PAUSE
        while entries := lane.take():
            try:
                places = await self._write(lane, [entry.message for entry in entries])
            except TooLarge as refusal:
                lane.refused(entries, refusal)
            except Unavailable as trouble:
                if trouble.code in self._config.at_once:
                    _fail(entries, trouble)
                    continue
                lane.put_back(entries)
                if trouble.code == "kafka_no_leader" and self._emptied(lane):
                    continue
                for entry in entries:
                    entry.call.trouble = trouble
                self._troubles.add(lane.name, str(trouble))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except BaseException:
                lane.put_back(entries)
                raise
            else:
                lane.acknowledged(entries, places)
                self._troubles.over(lane.name)
                pause = FIRST_PAUSE
        self._troubles.over(lane.name)  # nobody waits for it any more

    def _emptied(self, lane: "_Lane") -> bool:
        """Moves what may go anywhere to partitions with a leader; whether nothing is left."""
        led = self._writer.led(lane.topic) if self._writer else []
        if not led:
            return False
        other = self._lane(lane.topic, led[lane.partition % len(led)])
        moved = lane.take_movable()
        if moved:
            other.waiting.extend(moved)
            self._start(other)
            if not lane.is_deserted:
                log.warning("producer.no_leader", extra={"lane": lane.name, "to": other.name})
                lane.is_deserted = True
        return not lane.waiting

    async def _write(self, lane: "_Lane", messages: list[Message]) -> list[Place]:
        lane.look = asyncio.get_running_loop().call_later(LOOK, self._look, lane, LOOK)
        try:
            writer = await self._current()
            try:
                async with asyncio.timeout(None) as patience:
                    if any(message.anywhere for message in messages):
                        lane.flight = _Flight(writer, patience)
                    return await writer.write(lane.topic, lane.partition, messages)
            except Unavailable as trouble:
                if trouble.code not in NOTHING_SENT:
                    self._discard(writer)
                raise
            except TooLarge:
                self._discard(writer)
                raise
            except TimeoutError:
                self._discard(writer)
                raise Unavailable("kafka_no_leader", f"{lane.name} lost its leader") from None
        finally:
            lane.look.cancel()
            lane.flight = None

    def _look(self, lane: "_Lane", passed: float) -> None:
        """At a batch in flight, after so many seconds."""
        if passed >= LATE:
            detail = f"no acknowledgement for {LATE:.0f} s from {self._config.bootstrap}"
            self._troubles.add(lane.name, detail)
        loop = asyncio.get_running_loop()
        if lane.flight and lane.flight.is_lost(lane):
            lane.flight.patience.reschedule(loop.time())
        else:
            lane.look = loop.call_later(LOOK, self._look, lane, passed + LOOK)

    async def _current(self) -> BatchWriter:
        if self._writer is None:
            async with self._opening:
                if self._writer is None:
                    self._writer = await self._open(self._config)
        return self._writer

    def _discard(self, writer: BatchWriter) -> None:
        """Others may still have batches in flight on it: it is closed in the background."""
        if self._writer is writer:
            self._writer = None
            log.info("producer.renewed")
            task = asyncio.create_task(writer.close(GRACE), name="close a Kafka writer")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class _Call:
    """One list of a caller, until each of its messages has a result."""

    __slots__ = ("_left", "abandoned", "done", "results", "trouble")

    def __init__(self, count: int) -> None:
        self.results: list[Place | TooLarge] = [_UNKNOWN] * count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.abandoned = False
        self.trouble: Unavailable | None = None  # the last one that held it up
        self._left = count
        if not count:
            self.done.set_result(None)

    def settle(self, index: int, result: Place | TooLarge) -> None:
        self.results[index] = result
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def late(self, deadline: float | None) -> Unavailable:
        """What to say at the deadline: the trouble that held it up, when it is known."""
        detail = f"not acknowledged within {deadline:.3g} s"
        if self.trouble is None:
            return Unavailable("kafka_timeout", detail)
        return Unavailable(self.trouble.code, f"{detail}: {self.trouble.detail}")


_UNKNOWN = Place("", -1, -1, -1)


class _Entry(NamedTuple):
    call: _Call
    slot: int
    message: Message


class _Flight(NamedTuple):
    """A batch on its way, which may go another one; the way to give it up."""

    writer: BatchWriter
    patience: asyncio.Timeout

    def is_lost(self, lane: "_Lane") -> bool:
        """Others of the topic have a leader, and this partition has none."""
        led = self.writer.led(lane.topic)
        return bool(led) and lane.partition not in led


class _Lane:
    """The messages for one partition that are not acknowledged."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.name = f"{topic}/{partition}"
        self.waiting: deque[_Entry] = deque()
        self.task: asyncio.Task[None] | None = None
        self.flight: _Flight | None = None
        self.look: asyncio.TimerHandle
        self.is_deserted = False  # what may go elsewhere does
        self._alone = 0  # so many from the head on go one by one, to find the one too large

    def take(self) -> list[_Entry]:
        """The next batch, without those that nobody waits for any more."""
        limit = 1 if self._alone else BATCH_RECORDS
        taken: list[_Entry] = []
        while self.waiting and len(taken) < limit:
            entry = self.waiting.popleft()
            if not entry.call.abandoned:
                taken.append(entry)
        return taken

    def forget(self, call: _Call) -> None:
        """Or they would pile up while Kafka is away."""
        self.waiting = deque(entry for entry in self.waiting if entry.call is not call)

    def put_back(self, entries: Sequence[_Entry]) -> None:
        self.waiting.extendleft(reversed(entries))

    def take_movable(self) -> list[_Entry]:
        """Those that may go anywhere."""
        entries, self.waiting, self._alone = self.waiting, deque(), 0
        for entry in entries:
            if not entry.message.anywhere:
                self.waiting.append(entry)
        return [entry for entry in entries if entry.message.anywhere]

    def acknowledged(self, entries: Sequence[_Entry], places: Sequence[Place]) -> None:
        """The first ones have their places; the others wait on."""
        self.put_back(entries[len(places) :])
        self._alone = max(0, self._alone - len(places))
        self.is_deserted = False
        for entry, place in zip(entries, places, strict=False):
            entry.call.settle(entry.slot, place)

    def refused(self, entries: Sequence[_Entry], refusal: TooLarge) -> None:
        if len(entries) == 1:
            self._alone = max(0, self._alone - 1)
            entries[0].call.settle(entries[0].slot, refusal)
        else:
            self._alone = len(entries)
            self.put_back(entries)

    def fail(self, error: BaseException) -> None:
        while self.waiting:
            self.waiting.popleft().call.fail(error)


def _fail(entries: Sequence[_Entry], trouble: Unavailable) -> None:
    for entry in entries:
        entry.call.fail(trouble)


class _Troubles:
    """What doesn't get on, by topic or lane: the role isn't ready while there is any."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._open: dict[str, str] = {}

    def add(self, name: str, detail: str) -> None:
        self._open[name] = detail
        self._health.down(DEPENDENCY, detail)

    def over(self, name: str) -> None:
        if self._open.pop(name, None) is None:
            return
        if self._open:
            self._health.down(DEPENDENCY, next(iter(self._open.values())))
        else:
            self._health.up(DEPENDENCY)
