"""Publishing while everything breaks, as a careful client does it.

An event with an id is published again, under the same id, until it was acknowledged. One without
is published once: after an error nobody knows whether it was accepted, so it isn't owed.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from event_router.consumers.log_rows import place_text
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.record import Message, Place
from tests.conservation.events import Issued
from tests.conservation.ledger import Ledger
from tests.system import API_KEY

AT_ONCE = 100
PAUSE = 0.3
LATE = 20.0  # seconds, beyond the client's own time-out
RUBBISH = 0.01  # of what is written to Kafka


class KafkaClient:
    """Somebody else's producer: plain aiokafka, renewed when it failed, for it doesn't mend."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: Any = None
        self._opening = asyncio.Lock()
        self._closing: list[asyncio.Task[None]] = []

    async def write(self, message: Message) -> Place:
        """Raises KafkaError or OSError when it isn't known to be written."""
        producer = await self._current()
        try:
            async with asyncio.timeout(LATE):
                sent = await producer.send_and_wait(
                    message.topic, message.value, message.key, headers=list(message.headers)
                )
        except (KafkaError, OSError):
            self._discard(producer)
            raise
        # Its time isn't the record's: aiokafka tells that of the batch's first one.
        return Place(sent.topic, sent.partition, sent.offset, sent.timestamp)

    async def aclose(self) -> None:
        if self._producer is not None:
            self._discard(self._producer)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _current(self) -> Any:
        async with self._opening:
            producer = self._producer
            if producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    enable_idempotence=True,
                    request_timeout_ms=10_000,
                )
                try:
                    # One that has heard of a single broker waits for that one, for ever.
                    async with asyncio.timeout(LATE):
                        await producer.start()
                except BaseException:
                    await _close(producer)
                    raise
                self._producer = producer
            return producer

    def _discard(self, producer: Any) -> None:
        """Others may still wait for it, so it ends by itself."""
        if self._producer is producer:
            self._producer = None
            self._closing.append(asyncio.create_task(_close(producer), name="close a producer"))


async def _close(producer: Any) -> None:
    """It would wait for Kafka for ever."""
    try:
        async with asyncio.timeout(2):
            await producer.stop()
    except (TimeoutError, KafkaError, OSError):
        await producer.client.close()


class Producers:
    """`running` publishes at `rate` events/s; `publish` is for one event."""

    def __init__(self, ledger: Ledger, kafka: str, topic: str, http: httpx.AsyncClient) -> None:
        self._ledger = ledger
        self._kafka = KafkaClient(kafka)
        self._topic = topic
        self._http = http
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def running(self, rate: float) -> AsyncIterator[None]:
        """Afterwards everything that was begun is acknowledged, or was given up."""
        task = asyncio.create_task(self._run(rate), name="producers")
        try:
            yield
        finally:
            self._stopping.set()
            await task

    async def aclose(self) -> None:
        await self._kafka.aclose()

    async def _run(self, rate: float) -> None:
        room = asyncio.Semaphore(AT_ONCE)
        dice = random.Random(self._ledger.seed)
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                await room.acquire()
                task = group.create_task(self._one(dice.random() < RUBBISH / 2), name="publish")
                task.add_done_callback(lambda _: room.release())
                await asyncio.sleep(dice.expovariate(rate))

    async def _one(self, rubbish: bool) -> None:
        if rubbish:
            await self._rubbish()
        else:
            await self.publish(self._ledger.issue())

    async def publish(self, event: Issued) -> None:
        """Returns once it was acknowledged, or given up for good."""
        once = self._by_kafka if event.via == "kafka" else self._by_http
        while not await once(event):
            if event.event_id is None or self._stopping.is_set():
                return
            await asyncio.sleep(PAUSE)

    async def _rubbish(self) -> None:
        with suppress(KafkaError, OSError):
            place = await self._kafka.write(Message(self._topic, None, b"no event", []))
            self._ledger.rubbish.add(place_text(place).rpartition(":")[0])

    async def _by_kafka(self, event: Issued) -> bool:
        try:
            await self._kafka.write(_message(event, self._topic))
        except (KafkaError, OSError):
            return False
        self._ledger.accept(event, event.event_id)
        return True

    async def _by_http(self, event: Issued) -> bool:
        try:
            answer = await self._http.post("/api/v1/publish", content=_envelope(event))
        except httpx.TransportError:
            return False
        if answer.status_code == 202:
            self._ledger.accept(event, answer.json()["id"])
            return True
        if answer.status_code != 503:
            self._ledger.refused.append(f"{answer.status_code} {answer.text}")
        return False


def client(api: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    headers = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}
    return httpx.AsyncClient(base_url=api, headers=headers, timeout=40, limits=limits)


def _message(event: Issued, topic: str) -> Message:
    """With an id as CloudEvents, without one as the plain envelope, which may lack it."""
    if event.event_id is None:
        return Message(topic, None, _envelope(event), [])
    made = NewEvent(
        event.tenant, event.event_id, "shop", event.topic, "2026-01-01T00:00:00Z", event.body,
        retry=event.retry,
    )  # fmt: skip
    return event_message(made, topic)


def _envelope(event: Issued) -> bytes:
    """The JSON of `POST /publish`, with the payload as it is."""
    head: dict[str, Any] = {"tenant_id": event.tenant, "topic": event.topic}
    if event.event_id is not None:
        head["id"] = event.event_id
    if not event.retry:
        head["eligible_for_retry"] = False
    return json.dumps(head).encode()[:-1] + b', "data": ' + event.body + b"}"
