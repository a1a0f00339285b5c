"""A bucket of Amazon S3, or of a store that speaks its protocol: each event is an object, the
payload as it was published, metadata as the object's own."""

import re
from typing import ClassVar
from urllib.parse import quote

from pydantic import BaseModel, Field

from event_router.consumers.sinks.aws import ENDPOINT, NEEDS, AwsCredentials, AwsService, Region
from event_router.consumers.sinks.fields import Fields, HttpUrl, Needs, Shown, Text
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.templates import Compiled, Template
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer

LONGEST_KEY = 1024
KEY = "join('', [time.rfc3339_nano, '_', metadata.\"event-id\", '.json'])"
"""As in Outpost: a duplicate writes the same object again."""

_NAME = re.compile(r"[a-z0-9_.-]+")


class AwsS3Config(Fields):
    """A bucket."""

    bucket: Text = Field(title="Bucket")
    region: Region
    key_template: Template | None = Field(
        None, title="Key", description=f"JMESPath over time, metadata and data; {KEY} without one."
    )
    storage_class: Text | None = Field(
        None, title="Storage class", description="STANDARD without one."
    )
    endpoint: HttpUrl | None = ENDPOINT


class AwsS3:
    """One destination's bucket."""

    label: ClassVar[str] = "AWS S3"
    description: ClassVar[str] = "Write events as objects into a bucket of Amazon S3"
    Config: ClassVar[type[BaseModel]] = AwsS3Config
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials
    needs: ClassVar[Needs] = NEEDS

    def __init__(
        self,
        destination: Destination,
        config: AwsS3Config,
        credentials: AwsCredentials,
        resources: SinkResources,
    ) -> None:
        self._service = AwsService("s3", config.region, config.endpoint, credentials, resources)
        self._where = {"Bucket": config.bucket, "StorageClass": config.storage_class or "STANDARD"}
        entered = [config.key_template] if config.key_template else []
        self._keys = [Compiled(template, LONGEST_KEY) for template in (*entered, KEY)]
        self._fixed = destination.delivery_metadata

    @staticmethod
    def shown(config: AwsS3Config) -> Shown:
        return Shown(f"{config.bucket} in {config.region}")

    async def deliver(self, delivery: Delivery) -> Answer:
        head = delivery.head
        metadata = merged_metadata(self._fixed, head)
        found = (template.text(delivery, metadata) for template in self._keys)
        key = next(filter(None, found), None) or _plain_key(head)
        said = await self._service.call(
            "put_object",
            **self._where,
            Key=key,
            Body=delivery.data,
            ContentType=_ascii(head.content_type),
            Metadata={
                name.lower(): _ascii(value)
                for name, value in metadata.items()
                if _NAME.fullmatch(name.lower())
            },
        )
        return Answer("OK", body=said["ETag"].encode())

    async def aclose(self) -> None:
        await self._service.aclose()


def _plain_key(head: DeliveryHead) -> str:
    """For an id or a time that no key can hold as it is."""
    return quote(f"{head.time}_{head.event}.json", safe="")


def _ascii(text: str) -> str:
    """As a header can carry it: percent-encoded where it must be."""
    return text if text.isascii() and text.isprintable() else quote(text)
