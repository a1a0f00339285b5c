"""The texts that go with a payload, as headers, attributes or properties."""

from collections.abc import Mapping

from event_router.schemas.delivery import Delivery, DeliveryHead


def merged_metadata(fixed: Mapping[str, str] | None, head: DeliveryHead) -> dict[str, str]:
    """What a destination sends with every delivery (`delivery_metadata`), over that the event's
    own metadata, and over both what is the system's and nobody may override."""
    return {
        **(fixed or {}),
        **head.metadata,
        "event-id": head.event,
        "topic": head.topic,
        "timestamp": head.time,
        "content-type": head.content_type,
    }


def weight(delivery: Delivery) -> int:
    """About how many bytes a delivery takes in a batch: its payload, its metadata, some more."""
    head = delivery.head
    metadata = sum(len(name) + len(value) + 16 for name, value in head.metadata.items())
    return len(delivery.data) + metadata + len(head.event) + len(head.topic) + 256
