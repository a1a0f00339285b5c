"""A delivery: one event on its way to one destination."""

from typing import Annotated, Any, NamedTuple

import msgspec

from event_router.schemas.event import Event
from event_router.schemas.record import Count, Moment, Place

VERSION = 1
"""What heads are written as."""

READABLE = frozenset({VERSION})
"""What is read. A release that changes what a field means first reads the new version, and only
the next one writes it: then two releases run side by side, and none waits."""


class DestinationKey(NamedTuple):
    """A destination: two tenants may use the same id, so both belong to every key."""

    tenant: str
    destination: str


class DeliveryHead(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What is known of a delivery besides its payload.

    A *round* begins with routing (0) and with each replay; `attempt` (from 1) and age are counted
    per round. `began` is when the round began, in ms since the epoch. `more` holds fields of a
    newer release, which stay where they were when the head is written again.
    """

    tenant: str
    event: str
    destination: str
    origin: Place
    topic: str
    time: str
    source: str
    began: Moment
    round: Count = 0
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1
    manual: bool = False
    retry: bool = True
    content_type: str = "application/json"
    metadata: dict[str, str] = {}
    v: int = VERSION
    more: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET

    @property
    def key(self) -> DestinationKey:
        return DestinationKey(self.tenant, self.destination)


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A head and the payload, verbatim."""

    head: DeliveryHead
    data: bytes


def delivery_of(event: Event, destination: str, began: int) -> Delivery:
    """The first round's delivery of an event to one of its destinations."""
    return Delivery(
        DeliveryHead(
            tenant=event.tenant,
            event=event.id,
            destination=destination,
            origin=event.origin,
            topic=event.topic,
            time=event.time,
            source=event.source,
            began=began,
            retry=event.retry,
            content_type=event.content_type,
            metadata=event.metadata,
        ),
        event.data,
    )
