"""Destinations, deliveries and what sinks share, for tests."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.health import Health
from event_router.consumers.http1.sender import Sender
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.ports import Producer
from event_router.consumers.producer import KafkaProducer
from event_router.consumers.sinks.kinds import SinkResources
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.destination import Destination
from event_router.schemas.record import Place


def a_destination(
    kind: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Any],
    version: str = "v1",
    **more: Any,
) -> Destination:
    return Destination(
        tenant="acme",
        id="one",
        type=kind,
        topics=("*",),
        config=dict(config),
        credentials=dict(credentials),
        version=version,
        created_at=0,
        updated_at=0,
        **more,
    )


def a_delivery(
    event: str = "evt_1", data: bytes = b'{"a": 1}', topic: str = "user.created", **more: Any
) -> Delivery:
    head = DeliveryHead(
        tenant="acme",
        event=event,
        destination="one",
        origin=Place("events", 0, 0, 0),
        topic=topic,
        time="2026-01-01T00:00:00Z",
        source="/tests",
        began=0,
        **more,
    )
    return Delivery(head, data)


def _producer(config: KafkaConfig) -> Producer:
    return KafkaProducer(config, Health())


def resources_with(
    sender: Sender,
    resolver: Resolver,
    *,
    timeout: float = 20.0,
    clock: Callable[[], float] | None = None,
) -> SinkResources:
    resources = SinkResources(sender, resolver, _producer, timeout)
    return (
        resources if clock is None else SinkResources(sender, resolver, _producer, timeout, clock)
    )


@asynccontextmanager
async def local_resources(
    *,
    timeout: float = 20.0,
    clock: Callable[[], float] | None = None,
    allowed: tuple[str, ...] = ("127.0.0.0/8", "::1/128"),
) -> AsyncIterator[SinkResources]:
    """For sinks that reach this machine, or only the networks that are `allowed`."""
    resolver = Resolver(networks(*allowed))
    sender = Sender(resolver)
    try:
        yield resources_with(sender, resolver, timeout=timeout, clock=clock)
    finally:
        await sender.aclose()
