"""Writing an event: CloudEvents 1.0, Kafka protocol binding, binary mode.

The payload is the record's value as it came; attributes are `ce_` headers, metadata `meta_` ones.
"""

import msgspec

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


def event_message(event: NewEvent, topic: str) -> Message:
    """The record to write. Its key is the partition key if given, else the event's id: a tenant's
    events spread, so that a big tenant doesn't own one partition."""
    headers = [
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
    if event.partition_key is not None:
        headers.append(("ce_partitionkey", event.partition_key.encode()))
    headers += ((f"meta_{name}", value.encode()) for name, value in event.metadata.items())
    key = event.id if event.partition_key is None else event.partition_key
    return Message(topic, key.encode(), event.data, headers)
