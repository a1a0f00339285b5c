"""Writing an event: CloudEvents 1.0, Kafka protocol binding, binary mode.

The payload is the record's value as it came; attributes are `ce_` headers, metadata `meta_` ones.
"""

import msgspec

from event_router.schemas.decode import checked_time
from event_router.schemas.ids import checked_event_id, checked_id, checked_text
from event_router.schemas.record import Message


class NewEvent(msgspec.Struct, frozen=True):
    """An event that is about to be published; `generated_id` when no client chose its id."""

    tenant: str
    id: str
    source: str
    topic: str
    time: str
    data: bytes
    content_type: str = "application/json"
    metadata: dict[str, str] = {}
    destination: str | None = None
    retry: bool = True
    partition_key: str | None = None
    generated_id: bool = False
    updates: str | None = None


def event_message(event: NewEvent, topic: str) -> Message:
    """The record to write, which decodes to the same event; InvalidValue when none can.

    Its key is the partition key if given, else the event's id: a tenant's events spread, so that
    a big tenant doesn't own one partition.
    """
    _check(event)
    headers: list[tuple[str, bytes | None]] = [
        ("content-type", event.content_type.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.topic.encode()),
        ("ce_time", event.time.encode()),
        ("ce_tenantid", event.tenant.encode()),
    ]
    if event.destination is not None:
        headers.append(("ce_destinationid", event.destination.encode()))
    if not event.retry:
        headers.append(("ce_retryeligible", b"false"))
    if event.generated_id:
        headers.append(("ce_generatedid", b"true"))
    if event.partition_key:
        headers.append(("ce_partitionkey", event.partition_key.encode()))
    if event.updates is not None:
        headers.append(("ce_updates", event.updates.encode()))
    headers += ((f"meta_{name}", value.encode()) for name, value in event.metadata.items())
    return Message(topic, (event.partition_key or event.id).encode(), event.data, headers)


def _check(event: NewEvent) -> None:
    """What decode_event would refuse isn't written: it would be accepted, and end as dead."""
    checked_id("tenant_id", event.tenant)
    checked_event_id(event.id)
    checked_text("source", event.source)
    checked_text("topic", event.topic)
    checked_text("content_type", event.content_type)
    checked_time("time", event.time)
    if event.destination is not None:
        checked_id("destination_id", event.destination)
    if event.partition_key:
        checked_text("partition_key", event.partition_key)
    if event.updates is not None:
        checked_event_id(event.updates)
