"""Publishing straight to Kafka: the calls of the client, the same ids, and no HTTP.

It needs `event-router[consumers]`. What the API does beside isn't done here: topics aren't checked
against ROUTER_TOPICS, matching destinations aren't told, and schemas are those that are given.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import msgspec

from event_router.client import calls
from event_router.client.batch import Order, ordered
from event_router.client.calls import Manners
from event_router.client.exchange import Answer, Call, Request
from event_router.client.retries import Retries
from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.ports import Producer
from event_router.consumers.producer import KafkaProducer
from event_router.router.clock import now_ms
from event_router.router.hops.publish import new_event
from event_router.router.kafka_batch import KafkaBatch
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.columns import EventSchema
from event_router.schemas.conformity import conform, remarks, timestamp_remarks
from event_router.schemas.decode import DEFAULT_SOURCE, rfc3339
from event_router.schemas.errors import TooLarge, Unavailable
from event_router.schemas.record import Message, Place
from event_router.schemas.timestamps import TimestampFormat, parse_timestamp
from event_router.schemas.topics import Topics

P = ParamSpec("P")
T = TypeVar("T")

Schemas = Mapping[tuple[str, str], EventSchema]


class _Sent(msgspec.Struct):
    """What `publish_event` posts."""

    event: msgspec.Raw
    event_id: str
    is_update: bool | None
    event_timestamp: str | int | float | None
    timestamp_format: TimestampFormat
    casting_type: bool
    dry_run: bool
    update_id: str | None

    @property
    def data(self) -> dict[str, Any]:
        return msgspec.json.decode(self.event, type=dict[str, Any])


class FirstContact:
    """Writes to Kafka, and waits no longer than `connect_timeout` seconds until it has once
    acknowledged something: an address that is wrong is wrong for good."""

    def __init__(self, config: KafkaConfig, connect_timeout: float) -> None:
        self._config = config
        self._connect_timeout = connect_timeout
        self._producer = KafkaProducer(config, Health())
        self._made = False

    async def send(
        self, messages: Sequence[Message], deadline: float | None = None
    ) -> list[Place | TooLarge]:
        """As `ports.Producer.send`."""
        if self._made:
            return await self._producer.send(messages, deadline)
        first = self._connect_timeout
        try:
            within = first if deadline is None else min(deadline, first)
            results = await self._producer.send(messages, within)
        except Unavailable as trouble:
            raise Unavailable(trouble.code, f"{trouble.detail}{self._advice(trouble)}") from trouble
        self._made = True
        return results

    def _advice(self, trouble: Unavailable) -> str:
        if trouble.code == "kafka_timeout":
            return f": nothing came from {self._config.bootstrap}, check the address"
        if trouble.code == "kafka_error" and self._config.idempotent:
            return ". The Kafka that `router up` embeds needs KafkaConfig(…, idempotent=False)"
        return ""

    async def aclose(self) -> None:
        await self._producer.aclose()


class _Kafka:
    """What is posted elsewhere is written here."""

    def __init__(
        self, producer: Producer, topics: Topics, schemas: Schemas, manners: Manners
    ) -> None:
        self._producer = producer
        self._topics = topics
        self._schemas = schemas
        self._manners = manners

    async def _carry_out(self, call: Call[T]) -> T:
        """Calls about one event are one request."""
        request = next(call)
        if not isinstance(request, Request):
            raise TypeError(f"{request!r} is no request")
        try:
            call.send(await self._answer(request))
        except StopIteration as end:
            result: T = end.value
            return result
        raise TypeError(f"{request.path} is more than one request")

    async def _answer(self, request: Request) -> Answer:
        """What the API would have answered, once Kafka has the event."""
        if request.path.endswith("/publish"):
            event = new_event(request.body, (), now_ms())
            return await self._sent(event, {"id": event.id})
        tenant, topic = request.path.split("/")[3].split(":")[1:]
        sent = msgspec.json.decode(request.body, type=_Sent)
        schema = self._schemas.get((tenant, topic))
        update = bool(sent.is_update)
        if sent.dry_run:
            found = remarks(sent.data, schema, casting=sent.casting_type, partial=update)
            found += timestamp_remarks(sent.event_timestamp, sent.timestamp_format)
            return _accepted({"data": {"report": found}})
        conformed = conform(sent.data, schema, casting=sent.casting_type, partial=update)
        changed = schema is not None and (conformed.dropped or sent.casting_type)
        data = msgspec.json.encode(conformed.data) if changed else bytes(sent.event)
        event = _event_of(sent, tenant, topic, data)
        return await self._sent(event, {"data": {"__fiddler_id": event.id}})

    async def _sent(self, event: NewEvent, answer: object) -> Answer:
        message = event_message(event, self._topics.events)
        [result] = await self._producer.send([message], self._manners.retries.patience)
        if isinstance(result, TooLarge):
            raise result
        return _accepted(answer)


def _awaitable(
    call: Callable[Concatenate[Manners, P], Call[T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    @wraps(call)
    async def done(self: _Kafka, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._carry_out(call(self._manners, *args, **kwargs))

    return done


def _batch(
    order: Callable[Concatenate[Manners, P], Order],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, dict[str, Any]]]:
    @wraps(order)
    async def publish_events_batch(
        self: "KafkaPublisher", /, *args: P.args, **kwargs: P.kwargs
    ) -> dict[str, Any]:
        return await self._ingest(order(self._manners, *args, **kwargs))

    return publish_events_batch


class KafkaPublish(_Kafka):
    """`publisher.publish`"""

    event = _awaitable(calls.publish)


class KafkaPublisher(_Kafka):
    """Writes events to the topic that the router reads; each call returns once Kafka has them.

    `kafka` are bootstrap servers, or all there is to say; `namespace` is the router's;
    `schemas` are by tenant and topic. Kafka has `retries.patience` seconds for each call, and no
    other part of `retries` is looked at. Beside what the client raises: InvalidValue for what the
    API would refuse, TooLarge, and Unavailable when Kafka didn't acknowledge in time (publish
    again with the same id). Until Kafka has acknowledged something it has `connect_timeout`
    seconds at most, so that a wrong address is told soon. A batch is published when its call
    returns, whether `wait` is given or not, and the same `batch_id` again gives rows the same ids.
    """

    def __init__(
        self,
        kafka: str | KafkaConfig,
        *,
        namespace: str = "",
        schemas: Schemas | None = None,
        retries: Retries = Retries(),  # noqa: B008  it is frozen
        connect_timeout: float = 10.0,
    ) -> None:
        config = KafkaConfig(bootstrap=kafka) if isinstance(kafka, str) else kafka
        producer = FirstContact(config, connect_timeout)
        super().__init__(producer, Topics(namespace), schemas or {}, Manners(retries))
        self.publish = KafkaPublish(producer, self._topics, self._schemas, self._manners)

    publish_event = _awaitable(calls.publish_event)
    publish_events_batch = _batch(ordered)

    async def _ingest(self, order: Order) -> dict[str, Any]:
        schema = self._schemas.get((order.project, order.model))
        batch = KafkaBatch(order, schema, self._producer, self._topics.events)
        return await batch.run(self._manners.retries.patience)

    async def close(self) -> None:
        await self._producer.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _event_of(sent: _Sent, tenant: str, topic: str, data: bytes) -> NewEvent:
    written, at = sent.timestamp_format, sent.event_timestamp
    return NewEvent(
        tenant=tenant,
        id=sent.update_id or sent.event_id,
        source=DEFAULT_SOURCE,
        topic=topic,
        time=rfc3339(now_ms() if at is None else parse_timestamp(at, written)),
        data=data,
        partition_key=sent.event_id if sent.is_update else None,
        updates=sent.event_id if sent.is_update else None,
        metadata={"updates": sent.event_id} if sent.is_update else {},
    )


def _accepted(answer: object) -> Answer:
    return Answer(202, msgspec.json.encode(answer))
