"""Tells operators which topics a tenant is subscribed to, once that may have changed.

The write is committed before, so there is a moment in which a crash, or Kafka, leaves it untold:
hence a write over the API is answered only after, and whoever repeats it is told about again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid5

import msgspec

from event_router.consumers.ports import Producer, Versions
from event_router.router.decisions.alerts import SUBSCRIPTION, AlertPolicy
from event_router.router.hops.operator_events import subscription_message
from event_router.router.store.ports import Registry
from event_router.schemas.destination import Destination
from event_router.schemas.errors import TooLarge
from event_router.schemas.topics import Topics

_IDS = UUID("0b0f7a52-3a86-5c39-9d0c-4f0c2a5f6b7e")
_TOPICS_SHOWN = 128 * 1024


class Subscription(msgspec.Struct, frozen=True):
    """How a tenant stands. `topics` is null when they are too many to be told."""

    tenant_id: str
    topics: list[str] | None
    destinations_count: int


def subscribed(destinations: list[Destination]) -> list[str]:
    """The union of the destinations' topics, in order."""
    return sorted({topic for one in destinations for topic in one.topics})


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """`clock` in ms; `deadline`, in seconds, is what Kafka has to acknowledge in."""

    policy: AlertPolicy
    topics: Topics
    registry: Registry
    versions: Versions
    producer: Producer
    clock: Callable[[], int]
    deadline: float = 10.0

    async def tell(self, tenant: str) -> None:
        """On return Kafka has acknowledged the event, if anybody wants it. Raises Unavailable.

        What is told holds at the event's time or later. Without a write in between, the same is
        told with the same id.
        """
        if not self.policy.wants(SUBSCRIPTION):
            return
        at = self.clock()
        destinations = await self.registry.destinations((tenant,))
        (token,) = await self.versions.get((tenant,))
        written = [f"{one.id}@{one.version}" for one in destinations]
        own_id = str(uuid5(_IDS, "/".join((tenant, token or "", *written))))
        told = msgspec.structs.asdict(_subscription(tenant, destinations))
        message = subscription_message(own_id, tenant, told, at, self.topics)
        (sent,) = await self.producer.send((message,), self.deadline)
        if isinstance(sent, TooLarge):
            raise sent


def _subscription(tenant: str, destinations: list[Destination]) -> Subscription:
    topics = subscribed(destinations)
    shown = topics if sum(map(len, topics)) <= _TOPICS_SHOWN else None
    return Subscription(tenant, shown, len(destinations))
