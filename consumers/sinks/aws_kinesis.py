"""A data stream of Amazon Kinesis: a record is `{"metadata": {…}, "data": …}`, the payload as it
was published where it is JSON, else as base64 in `data_base64`."""

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
from event_router.consumers.sinks.templates import PARTITION_KEY, Compiled, Template
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination

LONGEST = 1 << 20
"""Bytes of a record's data and key, by Kinesis' limits."""

LONGEST_CALL = 5 << 20
LONGEST_KEY = 256


class AwsKinesisConfig(Fields):
    """A stream."""

    stream_name: Text = Field(title="Stream name")
    region: Region
    endpoint: HttpUrl | None = ENDPOINT
    partition_key_template: Template | None = PARTITION_KEY


class AwsKinesis(AwsEntries):
    """One destination's stream."""

    label: ClassVar[str] = "AWS Kinesis"
    description: ClassVar[str] = "Send events to a data stream of Amazon Kinesis"
    Config: ClassVar[type[BaseModel]] = AwsKinesisConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials
    needs: ClassVar[Needs] = NEEDS

    operation: ClassVar[str] = "put_records"
    entries: ClassVar[str] = "Records"
    receipt: ClassVar[str] = "SequenceNumber"
    longest: ClassVar[int] = LONGEST
    longest_call: ClassVar[int] = LONGEST_CALL
    batch: Batch = Batch(count=500, bytes=4 << 20, at_once=4)

    def __init__(
        self,
        destination: Destination,
        config: AwsKinesisConfig,
        credentials: AwsCredentials,
        resources: SinkResources,
    ) -> None:
        service = AwsService("kinesis", config.region, config.endpoint, credentials, resources)
        super().__init__(service, {"StreamName": config.stream_name})
        self._fixed = destination.delivery_metadata
        template = config.partition_key_template
        self._key = Compiled(template, LONGEST_KEY) if template else None

    @staticmethod
    def shown(config: AwsKinesisConfig) -> Shown:
        return Shown(f"{config.stream_name} in {config.region}")

    def entry(self, delivery: Delivery) -> Part:
        metadata = merged_metadata(self._fixed, delivery.head)
        data = enveloped(delivery.data, metadata)
        key = self._key.text(delivery, metadata) if self._key else None
        key = key or delivery.head.event
        return Part({"Data": data, "PartitionKey": key}, len(data) + len(key.encode()))
