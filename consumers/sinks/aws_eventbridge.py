"""A bus of Amazon EventBridge: the topic as detail type, and as detail
`{"metadata": {…}, "data": …}`, the payload where it is JSON, else as base64 in `data_base64`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.aws import ENDPOINT, NEEDS, AwsCredentials, AwsService, Region
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.enveloped import enveloped
from event_router.consumers.sinks.fields import Fields, HttpUrl, Needs, Shown, Text
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer

SOURCE = "event-router"
LONGEST = 1 << 20
"""Bytes of an entry, and of a call, by EventBridge's limits."""

LONGEST_TYPE = 128


class AwsEventBridgeConfig(Fields):
    """A bus."""

    region: Region
    event_bus_name: Text | None = Field(
        None, title="Event bus", description="Name or ARN; the account's default bus without one."
    )
    endpoint: HttpUrl | None = ENDPOINT


class AwsEventBridge(Batched):
    """One destination's bus."""

    label: ClassVar[str] = "AWS EventBridge"
    description: ClassVar[str] = "Send events to a bus of Amazon EventBridge"
    Config: ClassVar[type[BaseModel]] = AwsEventBridgeConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials
    needs: ClassVar[Needs] = NEEDS
    batch: Batch = Batch(count=10, bytes=LONGEST, at_once=4)

    def __init__(
        self,
        destination: Destination,
        config: AwsEventBridgeConfig,
        credentials: AwsCredentials,
        resources: SinkResources,
    ) -> None:
        self._service = AwsService("events", config.region, config.endpoint, credentials, resources)
        self._bus = config.event_bus_name or "default"
        self._fixed = destination.delivery_metadata

    @staticmethod
    def shown(config: AwsEventBridgeConfig) -> Shown:
        return Shown(f"{config.event_bus_name or 'default'} in {config.region}")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        entries = [self._entry(delivery) for delivery in deliveries]
        fit = [entry for entry in entries if _fits(entry)]
        said = iter(await self._put(fit) if fit else ())
        return [self._result(next(said)) if _fits(one) else self._too_large(one) for one in entries]

    async def aclose(self) -> None:
        await self._service.aclose()

    async def _put(self, entries: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        answer = await self._service.call("put_events", Entries=entries)
        said: Sequence[dict[str, Any]] = answer["Entries"]
        return said

    def _entry(self, delivery: Delivery) -> dict[str, Any]:
        head = delivery.head
        metadata = merged_metadata(self._fixed, head)
        return {
            "Source": SOURCE,
            "DetailType": head.topic[:LONGEST_TYPE],
            "Detail": enveloped(delivery.data, metadata).decode(),
            "EventBusName": self._bus,
            "Time": datetime.fromisoformat(head.time),
        }

    def _result(self, said: dict[str, Any]) -> Result:
        if word := said.get("ErrorCode"):
            return self._service.trouble(word, said.get("ErrorMessage", ""))
        return Answer("OK", body=said["EventId"].encode())

    def _too_large(self, entry: dict[str, Any]) -> Result:
        return self._service.troubles.too_large(f"{len(entry['Detail'])} characters")


def _fits(entry: dict[str, Any]) -> bool:
    return len(entry["Detail"].encode()) + len(entry["DetailType"]) + 64 <= LONGEST
