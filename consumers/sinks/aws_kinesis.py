"""A stream of Amazon Kinesis."""

from typing import ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.sinks.aws import ENDPOINT, AwsCredentials, Region
from event_router.consumers.sinks.fields import Fields, HttpUrl, Shown, Text
from event_router.consumers.sinks.templates import PARTITION_KEY, Template


class AwsKinesisConfig(Fields):
    """A stream."""

    stream_name: Text = Field(title="Stream name")
    region: Region
    endpoint: HttpUrl | None = ENDPOINT
    partition_key_template: Template | None = PARTITION_KEY


class AwsKinesis:
    """A stream of Amazon Kinesis."""

    label: ClassVar[str] = "AWS Kinesis"
    description: ClassVar[str] = "Send events to a data stream of Amazon Kinesis"
    Config: ClassVar[type[BaseModel]] = AwsKinesisConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials

    @staticmethod
    def shown(config: AwsKinesisConfig) -> Shown:
        return Shown(f"{config.stream_name} in {config.region}")
