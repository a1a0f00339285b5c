"""The Faust app of the stream role: one agent a topic, and how it runs and stops."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.contrib.asgi import bind_to_running_loop

from event_router.consumers.health import Health
from event_router.consumers.patience import FIRST_PAUSE, LONGEST_PAUSE
from event_router.router.faust_transport import Batch, Delivery, StreamConsumer, StreamTransport
from event_router.router.settings import Settings
from event_router.schemas.errors import EventRouterError, Unavailable
from event_router.schemas.record import Record

log = logging.getLogger(__name__)

Hop = Callable[[Sequence[Record]], Awaitable[None]]
"""Returns when the effects of all the records are durable."""

AT_ONCE = 3
"""Batches of a topic that are in its hop at the same time; the next one gathers meanwhile."""

COMMIT_INTERVAL = 0.5
COMMIT_TIMEOUT = 3.0
NEVER = 86400.0
"""Seconds. Backpressure is no reason to leave the group: the watchdog looks after stalls."""


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

    def loads_key(self, app: Any, message: Any, **_options: Any) -> None:  # noqa: ARG002
        return None

    def loads_value(self, app: Any, message: Any, **_options: Any) -> Batch:  # noqa: ARG002
        batch: Batch = message.value
        return batch


def stream_app(settings: Settings, group: str, hops: Mapping[str, Hop], health: Health) -> Any:
    """A Faust app that hands what it reads of each topic to the topic's hop.

    A hop that raises is called again with the same records until it returns; meanwhile the role
    isn't ready, and their offsets are not committed.
    """
    app = _App(group, **_options(settings))
    app.transport = StreamTransport(app, _delivery(settings, health))
    for topic, hop in hops.items():
        app.agent(app.topic(topic, schema=_Whole()), name=topic)(_agent(app, topic, hop, health))
    return app


def _options(settings: Settings) -> dict[str, Any]:
    session = settings.kafka_session_timeout
    return {
        "broker": [f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        "broker_credentials": _credentials(settings),
        "broker_client_id": "event-router-stream",
        "broker_session_timeout": session,
        "broker_heartbeat_interval": session / 10,
        "broker_request_timeout": max(40.0, session),
        "broker_rebalance_timeout": settings.drain_timeout + COMMIT_TIMEOUT + 10.0,
        "broker_max_poll_interval": NEVER,
        "broker_max_poll_records": None,
        "broker_commit_interval": COMMIT_INTERVAL,
        "consumer_auto_offset_reset": "earliest",
        "datadir": str(settings.data_dir),
        "stream_wait_empty": False,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_enabled": False,
        "autodiscover": False,
    }


def _delivery(settings: Settings, health: Health) -> Delivery:
    return Delivery(
        health=health,
        fetch_wait=settings.kafka_fetch_wait_ms / 1000,
        drain=settings.drain_timeout,
        commit_timeout=COMMIT_TIMEOUT,
        silence=max(10.0, settings.kafka_session_timeout),
    )


def _credentials(settings: Settings) -> Any:
    encrypted = settings.kafka_security in ("ssl", "sasl_ssl")
    context = _tls(settings) if encrypted else None
    if settings.kafka_security.startswith("sasl"):
        return faust.SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if encrypted else None


def _tls(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.kafka_ca_file)
    if settings.kafka_cert_file:
        context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file)
    return context


def _agent(app: Any, topic: str, hop: Hop, health: Health) -> Callable[[Any], Awaitable[None]]:
    async def agent(stream: Any) -> None:
        room = asyncio.Semaphore(AT_ONCE)
        consumer: StreamConsumer = app.consumer
        async for event in stream.noack().events():
            await room.acquire()
            records = event.value.take()
            work = _finish(consumer, topic, hop, records, health)
            task = consumer.in_flight.start(f"hop {topic}", work)
            task.add_done_callback(lambda _: room.release())

    return agent


async def _finish(
    consumer: StreamConsumer, topic: str, hop: Hop, records: Sequence[Record], health: Health
) -> None:
    """Calls the hop until it returns, then marks the records done."""
    name = f"hop {topic}"
    pause = FIRST_PAUSE
    while records:
        try:
            await hop(records)
        except Unavailable as trouble:
            health.down(name, str(trouble))
        except Exception as mistake:
            log.exception("hop.failed", extra={"topic": topic, "records": len(records)})
            health.fault(name, f"raises {mistake!r}: see the log")
        else:
            consumer.finished(records)
            health.up(name)
            health.mended(name)
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def run_stream(app: Any, stop: asyncio.Event) -> None:
    """Runs the app on this loop until `stop` is set, then leaves in order: no more is read, what
    runs is finished within the drain's deadline or given up, finished records are committed, the
    group is left.

    Raises StreamStopped when the app crashes.
    """
    bind_to_running_loop(app)
    app.finalize()
    app.conf.datadir.mkdir(parents=True, exist_ok=True)
    try:
        await app.maybe_start()
        await _until(app, stop)
    finally:
        await app.consumer.finish()
        await app.stop()
    if app.crash_reason is not None:
        raise StreamStopped(f"the stream app crashed: {app.crash_reason!r}") from app.crash_reason


async def _until(app: Any, stop: asyncio.Event) -> None:
    stopping = asyncio.create_task(stop.wait(), name="stream stop")
    crashed = asyncio.create_task(app.wait_until_stopped(), name="stream crash")
    try:
        while not (stopping.done() or crashed.done()):
            await asyncio.wait(
                {stopping, crashed}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED
            )
            app.consumer.look()
    finally:
        stopping.cancel()
        crashed.cancel()
