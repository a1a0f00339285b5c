"""What a job stands on."""

from collections.abc import Callable
from dataclasses import dataclass

from event_router.consumers.ports import Duplicates, Producer
from event_router.router.batch.events_topic import EventsTopic
from event_router.router.batch.uploads import Uploads
from event_router.router.store.schema_ports import Schemas


@dataclass(frozen=True, slots=True)
class Ports:
    """`topic` is Kafka's, `limit` is the most bytes of a payload, `clock` gives ms."""

    uploads: Uploads
    producer: Producer
    duplicates: Duplicates
    schemas: Schemas
    events: EventsTopic
    topic: str
    limit: int
    clock: Callable[[], int]
