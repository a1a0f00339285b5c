"""A queue of Amazon SQS."""

from typing import ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.sinks.aws import ENDPOINT, AwsCredentials
from event_router.consumers.sinks.fields import Fields, HttpUrl, Shown


class AwsSqsConfig(Fields):
    """A queue."""

    queue_url: HttpUrl = Field(title="Queue URL")
    endpoint: HttpUrl | None = ENDPOINT


class AwsSqs:
    """A queue of Amazon SQS."""

    label: ClassVar[str] = "AWS SQS"
    description: ClassVar[str] = "Send events to a queue of Amazon SQS"
    Config: ClassVar[type[BaseModel]] = AwsSqsConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials

    @staticmethod
    def shown(config: AwsSqsConfig) -> Shown:
        return Shown(config.queue_url)
