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

# As in sqs.eu-west-1.amazonaws.com, with what partitions, FIPS and VPC endpoints add to it, and in
# eu-west-1.queue.amazonaws.com, as it was named before.
_NAMED = r"([a-z]{2}(?:-[a-z]+)+-[0-9]+)"
_REGION = re.compile(rf"(?:.+\.)?sqs(?:-fips)?\.{_NAMED}\..+|{_NAMED}\.queue\.amazonaws\..+")
_ELSEWHERE = "us-east-1"


def region_of(host: str) -> str:
    """That a queue's host names: a signature is for one region."""
    found = _REGION.fullmatch(host)
    return (found[1] or found[2]) if found else _ELSEWHERE


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
        endpoint = config.endpoint or f"{parts.scheme}://{parts.netloc}"
        region = region_of(parts.hostname or "")
        service = AwsService("sqs", region, endpoint, credentials, resources)
        super().__init__(destination, service, {"QueueUrl": config.queue_url})

    @staticmethod
    def shown(config: AwsSqsConfig) -> Shown:
        return Shown(config.queue_url)
