"""A queue of Amazon SQS: the payload as the message's body, metadata as JSON in one attribute."""

import re
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from event_router.consumers.ports import Batch
from event_router.consumers.sinks.aws import ENDPOINT, NEEDS, AwsCredentials, AwsService
from event_router.consumers.sinks.aws_messages import AwsMessages
from event_router.consumers.sinks.fields import Fields, HttpUrl, Needs, Shown
from event_router.consumers.sinks.kinds import SinkResources
from event_router.schemas.destination import Destination

_REGION = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com")
_ELSEWHERE = "us-east-1"


class AwsSqsConfig(Fields):
    """A queue."""

    queue_url: HttpUrl = Field(title="Queue URL")
    endpoint: HttpUrl | None = ENDPOINT


class AwsSqs(AwsMessages):
    """One destination's queue; one whose name ends with .fifo drops duplicates itself."""

    label: ClassVar[str] = "AWS SQS"
    description: ClassVar[str] = "Send events to a queue of Amazon SQS"
    Config: ClassVar[type[BaseModel]] = AwsSqsConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials
    needs: ClassVar[Needs] = NEEDS

    operation: ClassVar[str] = "send_message_batch"
    entries: ClassVar[str] = "Entries"
    body: ClassVar[str] = "MessageBody"
    longest: ClassVar[int] = 1 << 20
    batch: Batch = Batch(count=10, bytes=1 << 20, at_once=8)

    def __init__(
        self,
        destination: Destination,
        config: AwsSqsConfig,
        credentials: AwsCredentials,
        resources: SinkResources,
    ) -> None:
        parts = urlsplit(config.queue_url)
        region = _REGION.fullmatch(parts.hostname or "")
        endpoint = config.endpoint or f"{parts.scheme}://{parts.netloc}"
        service = AwsService(
            "sqs", region[1] if region else _ELSEWHERE, endpoint, credentials, resources
        )
        super().__init__(destination, service, {"QueueUrl": config.queue_url})

    @staticmethod
    def shown(config: AwsSqsConfig) -> Shown:
        return Shown(config.queue_url)
