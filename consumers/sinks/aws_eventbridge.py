"""A bus of Amazon EventBridge: the topic as detail type, and as detail
`{"metadata": {…}, "data": …}`, the payload where it is JSON, else as base64 in `data_base64`."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.ports import Batch
from event_router.consumers.sinks.aws import ENDPOINT, NEEDS, AwsCredentials, AwsService, Region
from event_router.consumers.sinks.aws_entries import AwsEntries
from event_router.consumers.sinks.batched import Part
from event_router.consumers.sinks.enveloped import enveloped
from event_router.consumers.sinks.fields import Fields, HttpUrl, Needs, Shown, Text
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination

SOURCE = "event-router"
LONGEST = 1 << 20
"""Bytes of an entry, and of a call, by EventBridge's limits."""

LONGEST_TYPE = 128
_BESIDE = 64  # bytes for source, bus and time


class AwsEventBridgeConfig(Fields):
    """A bus."""

    region: Region
    event_bus_name: Text | None = Field(
        None, title="Event bus", description="Name or ARN; the account's default bus without one."
    )
    endpoint: HttpUrl | None = ENDPOINT


class AwsEventBridge(AwsEntries):
    """One destination's bus."""

    label: ClassVar[str] = "AWS EventBridge"
    description: ClassVar[str] = "Send events to a bus of Amazon EventBridge"
    Config: ClassVar[type[BaseModel]] = AwsEventBridgeConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials
    needs: ClassVar[Needs] = NEEDS

    operation: ClassVar[str] = "put_events"
    entries: ClassVar[str] = "Entries"
    receipt: ClassVar[str] = "EventId"
    longest: ClassVar[int] = LONGEST
    longest_call: ClassVar[int] = LONGEST
    batch: Batch = Batch(count=10, bytes=LONGEST, at_once=4)

    def __init__(
        self,
        destination: Destination,
        config: AwsEventBridgeConfig,
        credentials: AwsCredentials,
        resources: SinkResources,
    ) -> None:
        service = AwsService("events", config.region, config.endpoint, credentials, resources)
        super().__init__(service, {})
        self._bus = config.event_bus_name or "default"
        self._fixed = destination.delivery_metadata

    @staticmethod
    def shown(config: AwsEventBridgeConfig) -> Shown:
        return Shown(f"{config.event_bus_name or 'default'} in {config.region}")

    def entry(self, delivery: Delivery) -> Part:
        head = delivery.head
        detail = enveloped(delivery.data, merged_metadata(self._fixed, head))
        kind = head.topic[:LONGEST_TYPE]
        entry = {
            "Source": SOURCE,
            "DetailType": kind,
            "Detail": detail.decode(),
            "EventBusName": self._bus,
            "Time": datetime.fromisoformat(head.time),
        }
        return Part(entry, len(detail) + len(kind) + _BESIDE)
