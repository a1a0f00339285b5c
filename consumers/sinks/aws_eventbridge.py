"""A bus of Amazon EventBridge."""

from typing import ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.sinks.aws import ENDPOINT, AwsCredentials, Region
from event_router.consumers.sinks.fields import Fields, HttpUrl, Shown, Text


class AwsEventBridgeConfig(Fields):
    """A bus."""

    region: Region
    event_bus_name: Text | None = Field(
        None, title="Event bus", description="Name or ARN; the account's default bus without one."
    )
    endpoint: HttpUrl | None = ENDPOINT


class AwsEventBridge:
    """A bus of Amazon EventBridge."""

    label: ClassVar[str] = "AWS EventBridge"
    description: ClassVar[str] = "Send events to a bus of Amazon EventBridge"
    Config: ClassVar[type[BaseModel]] = AwsEventBridgeConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials

    @staticmethod
    def shown(config: AwsEventBridgeConfig) -> Shown:
        return Shown(f"{config.event_bus_name or 'default'} in {config.region}")
