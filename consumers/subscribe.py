"""`subscribe()`: run a handler on every record of topics, and lose none.

    await subscribe(["orders"], "billing", handle, kafka="localhost:9092")

For more control, iterate over a `Subscription`.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, overload

from event_router.consumers.gap import Gap
from event_router.consumers.health import Health
from event_router.consumers.interrupt import Interrupt
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.subscription import Callbacks, Reading, Subscription
from event_router.consumers.waiting import when
from event_router.consumers.watermark import Partition
from event_router.schemas.record import Record

__all__ = ["Callbacks", "Gap", "KafkaConfig", "Reading", "Retries", "Subscription", "subscribe"]

log = logging.getLogger(__name__)

OnRecord = Callable[[Record], Awaitable[None]]
OnBatch = Callable[[list[Record]], Awaitable[None]]
OnDead = Callable[[Record, Exception], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a handler that raises is called again: `limit` times, waiting `first` seconds,
    then twice as long each time, up to `longest`."""

    limit: int = 5
    first: float = 0.1
    longest: float = 30.0

    def pause(self, failures: int) -> float:
        """Seconds after so many failures in a row."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 60))


@overload
async def subscribe(
    topics: Collection[str],
    group: str,
    handler: OnRecord,
    *,
    kafka: KafkaConfig | str,
    batch: Literal[False] = False,
    concurrency: int = 16,
    retries: Retries = ...,
    on_dead: OnDead | None = None,
    reading: Reading | None = None,
    gap: Callable[[Gap], Awaitable[None]] | None = None,
    health: Health | None = None,
    stop: asyncio.Event | None = None,
) -> None: ...
@overload
async def subscribe(
    topics: Collection[str],
    group: str,
    handler: OnBatch,
    *,
    kafka: KafkaConfig | str,
    batch: Literal[True],
    concurrency: int = 16,
    retries: Retries = ...,
    on_dead: OnDead | None = None,
    reading: Reading | None = None,
    gap: Callable[[Gap], Awaitable[None]] | None = None,
    health: Health | None = None,
    stop: asyncio.Event | None = None,
) -> None: ...
async def subscribe(
    topics: Collection[str],
    group: str,
    handler: Callable[[Any], Awaitable[None]],
    *,
    kafka: KafkaConfig | str,
    batch: bool = False,
    concurrency: int = 16,
    retries: Retries = Retries(),
    on_dead: OnDead | None = None,
    reading: Reading | None = None,
    gap: Callable[[Gap], Awaitable[None]] | None = None,
    health: Health | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Calls `handler` with each record, or with `batch` with lists of them, until stopped.

    Up to `concurrency` calls run at a time and may end in any order; a record counts as handled
    once its call has returned. One that raises is repeated as `retries` says; then its record,
    or of a list each one that still fails alone, goes to `on_dead`, which is repeated until it
    returns. Without `on_dead` a record is retried for ever. Handled records may come again after
    a crash, and those that weren't will.

    Stops on `stop`, or on SIGTERM and SIGINT when it isn't given: reads no more, gives what runs
    `reading.drain` seconds, commits, leaves the group and returns.
    """
    crew = _Crew(_Handling(handler, batch, retries, on_dead), concurrency)
    subscription = Subscription(
        topics,
        group,
        kafka=kafka,
        reading=reading,
        callbacks=Callbacks(drain=crew.drain, revoked=crew.revoked, gap=gap),
        health=health,
    )
    try:
        with _halting(stop, crew.stop, subscription.stop):
            async with subscription:
                crew.start(subscription)
                async for records in subscription:
                    await crew.take([records] if batch else [[record] for record in records])
    finally:
        await crew.dismiss()


class _Handling:
    """One call of the handler, with its repetitions and its end in `on_dead`. Those who run it
    are cancelled only once they are `dismissed`."""

    def __init__(
        self,
        handler: Callable[[Any], Awaitable[None]],
        batch: bool,
        retries: Retries,
        on_dead: OnDead | None,
    ) -> None:
        self._handler = handler
        self._batch = batch
        self._retries = retries
        self._on_dead = on_dead
        self.dismissed = False

    async def __call__(self, records: list[Record]) -> None:
        """Returns once every record is handled, or `on_dead` has taken it."""
        error = await self._attempts(records)
        if error is None:
            return
        for record in records:
            failure = error if len(records) == 1 else await self._alone(record)
            if failure is not None:
                await self._bury(record, failure)

    async def _attempts(self, records: list[Record]) -> Exception | None:
        failures = 0
        while True:
            error = await self._once(records)
            if error is None:
                return None
            failures += 1
            if self._on_dead is not None and failures > self._retries.limit:
                return error
            _log("handler.failed", records[0], error, failures)
            await asyncio.sleep(self._retries.pause(failures))

    async def _once(self, records: list[Record]) -> Exception | None:
        return await self._failure_of(self._handler, records if self._batch else records[0])

    async def _alone(self, record: Record) -> Exception | None:
        """One bad record doesn't condemn the list it came with."""
        return await self._once([record])

    async def _bury(self, record: Record, error: Exception) -> None:
        assert self._on_dead is not None  # noqa: S101  attempts end only with one
        failures = 0
        while refusal := await self._failure_of(self._on_dead, record, error):
            failures += 1  # it must be taken before it is committed
            _log("on_dead.failed", record, refusal, failures)
            await asyncio.sleep(self._retries.pause(failures))

    async def _failure_of(
        self, call: Callable[..., Awaitable[None]], *given: Any
    ) -> Exception | None:
        """What the call failed with. A cancellation that is none of ours is a failure, too; and
        the task can't tell which it is: before Python 3.13 a task group inside the call that
        failed leaves it looking cancelled."""
        try:
            await call(*given)
        except asyncio.CancelledError as error:
            if self.dismissed:
                raise
            return RuntimeError(f"it was cancelled from within: {error!r}")
        except Exception as error:  # noqa: BLE001  whatever it raises is a failure of its record
            return error
        return None


def _log(name: str, record: Record, error: Exception, failures: int) -> None:
    extra = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "failures": failures,
        "error": repr(error),
    }
    log.warning(name, extra=extra, exc_info=error)


class _Crew:
    """Workers that take lists of records from a queue, handle them and mark them done."""

    def __init__(self, handle: _Handling, size: int) -> None:
        self._handle = handle
        self._size = size
        self._queue: asyncio.Queue[list[Record]] = asyncio.Queue(size)
        self._running = 0
        self._paused = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: frozenset[Partition] = frozenset()
        self._stopping = Interrupt()

    def start(self, subscription: Subscription) -> None:
        self._tasks = [
            asyncio.create_task(self._work(subscription), name=f"handler {number}")
            for number in range(self._size)
        ]

    def stop(self) -> None:
        """Takes no more."""
        self._stopping.fire()

    async def take(self, lists: Sequence[list[Record]]) -> None:
        """Returns once all are in the queue, or `stop` was called."""
        async with self._stopping:
            for records in lists:
                await self._queue.put(records)

    async def drain(self, partitions: frozenset[Partition], _: float) -> None:
        """Until nothing runs; of these partitions nothing that waits in the queue is begun."""
        self._leaving |= partitions
        while self._running:
            self._paused.clear()
            await self._paused.wait()

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        self._leaving -= partitions

    async def dismiss(self) -> None:
        """What still runs had its time; its records are read again."""
        self._handle.dismissed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, subscription: Subscription) -> None:
        while True:
            taken = await self._queue.get()
            records = [record for record in taken if self._may_begin(record, subscription)]
            if not records:
                continue
            self._running += 1
            try:
                await self._handle(records)
                subscription.done(records)
            finally:
                self._running -= 1
                self._paused.set()

    def _may_begin(self, record: Record, subscription: Subscription) -> bool:
        leaving = (record.topic, record.partition) in self._leaving
        return not leaving and subscription.holds(record)


@contextmanager
def _halting(stop: asyncio.Event | None, *halts: Callable[[], None]) -> Iterator[None]:
    """`stop`, or without it the signals, call each of `halts`."""

    def halt() -> None:
        for each in halts:
            each()

    if stop is None:
        with _signals(halt):
            yield
    else:
        task = asyncio.create_task(when(stop, halt), name="wait for stop")
        try:
            yield
        finally:
            task.cancel()


@contextmanager
def _signals(halt: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # Only the main thread has signals, and not every platform's loop.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, halt)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
