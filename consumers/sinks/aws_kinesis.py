"""A data stream of Amazon Kinesis: a record is `{"metadata": {…}, "data": …}`, the payload as it
was published where it is JSON, else as base64 in `data_base64`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.aws import ENDPOINT, NEEDS, AwsCredentials, AwsService, Region
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.enveloped import enveloped
from event_router.consumers.sinks.fields import Fields, HttpUrl, Needs, Shown, Text
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.templates import PARTITION_KEY, Compiled, Template
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer

LONGEST = 1 << 20
"""Bytes of a record's data and key, by Kinesis' limits."""

LONGEST_KEY = 256


class AwsKinesisConfig(Fields):
    """A stream."""

    stream_name: Text = Field(title="Stream name")
    region: Region
    endpoint: HttpUrl | None = ENDPOINT
    partition_key_template: Template | None = PARTITION_KEY


class AwsKinesis(Batched):
    """One destination's stream."""

    label: ClassVar[str] = "AWS Kinesis"
    description: ClassVar[str] = "Send events to a data stream of Amazon Kinesis"
    Config: ClassVar[type[BaseModel]] = AwsKinesisConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials
    needs: ClassVar[Needs] = NEEDS
    batch: Batch = Batch(count=500, bytes=4 << 20, at_once=4)

    def __init__(
        self,
        destination: Destination,
        config: AwsKinesisConfig,
        credentials: AwsCredentials,
        resources: SinkResources,
    ) -> None:
        self._service = AwsService(
            "kinesis", config.region, config.endpoint, credentials, resources
        )
        self._stream = config.stream_name
        self._fixed = destination.delivery_metadata
        template = config.partition_key_template
        self._key = Compiled(template, LONGEST_KEY) if template else None

    @staticmethod
    def shown(config: AwsKinesisConfig) -> Shown:
        return Shown(f"{config.stream_name} in {config.region}")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        records = [self._record(delivery) for delivery in deliveries]
        fit = [record for record in records if _fits(record)]
        said = iter(await self._put(fit) if fit else ())
        return [self._result(next(said)) if _fits(one) else self._too_large(one) for one in records]

    async def aclose(self) -> None:
        await self._service.aclose()

    async def _put(self, records: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        answer = await self._service.call("put_records", StreamName=self._stream, Records=records)
        said: Sequence[dict[str, Any]] = answer["Records"]
        return said

    def _record(self, delivery: Delivery) -> dict[str, Any]:
        metadata = merged_metadata(self._fixed, delivery.head)
        key = self._key.text(delivery, metadata) if self._key else None
        return {
            "Data": enveloped(delivery.data, metadata),
            "PartitionKey": key or delivery.head.event,
        }

    def _result(self, said: dict[str, Any]) -> Result:
        if word := said.get("ErrorCode"):
            return self._service.trouble(word, said.get("ErrorMessage", ""))
        return Answer("OK", body=said["SequenceNumber"].encode())

    def _too_large(self, record: dict[str, Any]) -> Result:
        return self._service.troubles.too_large(f"{len(record['Data'])} bytes")


def _fits(record: dict[str, Any]) -> bool:
    return len(record["Data"]) + len(record["PartitionKey"].encode()) <= LONGEST
