"""The Faust app of the stream role: one agent a topic, and how it runs and stops."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.contrib.asgi import bind_to_running_loop

from event_router.consumers.gap import Gap
from event_router.consumers.handover import Handover
from event_router.consumers.health import Health
from event_router.consumers.newer_records import Hop, NewerRecords
from event_router.consumers.patience import FIRST_PAUSE, LONGEST_PAUSE
from event_router.consumers.waiting import unless
from event_router.router.adapters import kafka_config
from event_router.router.settings import Settings
from event_router.router.stream.batch import Batch
from event_router.router.stream.fetch import Reading
from event_router.router.stream.transport import StreamConsumer, StreamTransport
from event_router.schemas.errors import EventRouterError, Unavailable
from event_router.schemas.record import Record

log = logging.getLogger(__name__)

AT_ONCE = 3
"""Batches of a topic that are in its hop at the same time; the next one gathers meanwhile."""

COMMIT_INTERVAL = 0.5
LOOK = 1.0
"""Seconds between looks at how Kafka is."""


class StreamStopped(EventRouterError):
    """The stream app crashed: the role must exit and be started again."""


class _Boot(BootStrategy):
    """No producer (hops send with our own), no web server, no sensors."""

    enable_kafka_producer = False
    enable_web = False
    enable_sensors = False


class _App(faust.App):
    BootStrategy = _Boot


class _Whole(faust.Schema):
    """Leaves the batch as it is: hops decode, each record on its own."""

    def loads_key(self, app: Any, message: Any, **_options: Any) -> None:  # noqa: ARG002  Faust's signature
        return None

    def loads_value(self, app: Any, message: Any, **_options: Any) -> Batch:  # noqa: ARG002  Faust's signature
        batch: Batch = message.value
        return batch


def stream_app(
    settings: Settings,
    group: str,
    hops: Mapping[str, Hop],
    health: Health,
    gap: Callable[[Gap], Awaitable[None]] | None = None,
    handover: Handover | None = None,
) -> Any:
    """A Faust app that hands what it reads of each topic to the topic's hop.

    A hop that raises is called again with the same records until it returns; meanwhile the role
    isn't ready, and their offsets are not committed. `gap` is told of records that went missing
    before they were read. What is done and can't be committed is left with `handover`.
    """
    kafka = kafka_config(settings)
    app = _App(group, **_options(settings))
    drain = settings.drain_timeout
    reading = Reading(kafka=kafka, health=health, drain=drain, gap=gap, handover=handover)
    app.transport = StreamTransport(app, reading)
    newer = NewerRecords(health)
    on_assigned(app, newer.forget)
    for topic, hop in hops.items():
        agent = _agent(app, topic, hop, health, newer)
        app.agent(app.topic(topic, schema=_Whole()), name=topic)(agent)
    return app


def on_assigned(app: Any, call: Callable[[], None]) -> None:
    """`call` is called at each assignment of partitions, the first one included."""

    def assigned(*_: Any, **__: Any) -> None:
        call()

    app.on_partitions_assigned.connect(assigned)


def _options(settings: Settings) -> dict[str, Any]:
    """What Faust itself looks at; how Kafka is reached says `kafka_config`."""
    return {
        "broker": [f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        "broker_commit_interval": COMMIT_INTERVAL,
        "datadir": str(settings.data_dir / "faust"),
        "stream_wait_empty": False,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_enabled": False,
        "autodiscover": False,
    }


def _agent(
    app: Any, topic: str, hop: Hop, health: Health, newer: NewerRecords
) -> Callable[[Any], Awaitable[None]]:
    async def agent(stream: Any) -> None:
        room = asyncio.Semaphore(AT_ONCE)
        consumer: StreamConsumer = app.consumer
        async for event in stream.noack().events():
            await room.acquire()
            while records := event.value.take():
                work = _finish(consumer, topic, hop, records, health, newer)
                task = consumer.in_flight.start(f"hop {topic}", work)
                task.add_done_callback(lambda _: room.release())
                await room.acquire()
            room.release()

    return agent


async def _finish(
    consumer: StreamConsumer,
    topic: str,
    hop: Hop,
    records: Sequence[Record],
    health: Health,
    newer: NewerRecords,
) -> None:
    """Calls the hop until it returns, then marks the records done that needn't wait for a newer
    release."""
    name = f"hop {topic}"
    pause = FIRST_PAUSE
    while True:
        try:
            done = await newer.past(hop, records)
        except Unavailable as trouble:
            health.down(name, str(trouble))
        except Exception as mistake:
            log.exception("hop.failed", extra={"topic": topic, "records": len(records)})
            health.fault(name, f"raises {mistake!r}: see the log")
        else:
            if done:
                consumer.finished(done)
            health.up(name)
            health.mended(name)
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def run_stream(app: Any, stop: asyncio.Event) -> None:
    """Runs the app on this loop until `stop` is set, then leaves in order: no more is read, what
    runs is finished within the drain's deadline or given up, finished records are committed, the
    group is left. While no broker answers at the start it waits for one, and isn't ready.

    Raises StreamStopped when the app crashes, Unavailable when the client has given up.
    """
    bind_to_running_loop(app)
    app.finalize()
    app.conf.datadir.mkdir(parents=True, exist_ok=True)
    try:
        await unless(stop, app.maybe_start, "stream start")
        if not stop.is_set():
            await _until(app, stop)
    finally:
        await app.consumer.finish()
        await app.stop()
    if app.crash_reason is not None:
        raise StreamStopped(f"the stream app crashed: {app.crash_reason!r}") from app.crash_reason


async def _until(app: Any, stop: asyncio.Event) -> None:
    """Until `stop` is set or the app crashes."""
    stopping = asyncio.create_task(stop.wait(), name="stream stop")
    crashed = asyncio.create_task(app.wait_until_stopped(), name="stream crash")
    try:
        while not (stopping.done() or crashed.done()):
            app.consumer.look()
            await asyncio.wait(
                {stopping, crashed}, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED
            )
    finally:
        stopping.cancel()
        crashed.cancel()
