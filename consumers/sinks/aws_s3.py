"""A bucket of Amazon S3."""

from typing import ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.sinks.aws import AwsCredentials, Region
from event_router.consumers.sinks.fields import Fields, Shown, Text
from event_router.consumers.sinks.templates import Template


class AwsS3Config(Fields):
    """A bucket."""

    bucket: Text = Field(title="Bucket")
    region: Region
    key_template: Template | None = Field(
        None, title="Key", description="JMESPath over time, metadata and data: the object's key."
    )
    storage_class: Text | None = Field(
        None, title="Storage class", description="STANDARD without one."
    )


class AwsS3:
    """A bucket of Amazon S3."""

    label: ClassVar[str] = "AWS S3"
    description: ClassVar[str] = "Write events as objects into a bucket of Amazon S3"
    Config: ClassVar[type[BaseModel]] = AwsS3Config
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials

    @staticmethod
    def shown(config: AwsS3Config) -> Shown:
        return Shown(f"{config.bucket} in {config.region}")
