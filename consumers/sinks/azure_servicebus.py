"""A queue or topic of Azure Service Bus."""

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, Field

from event_router.consumers.sinks.fields import Fields, Secret, Shown, Text


def _connection_string(text: str) -> str:
    if not re.search(r"(^|;)Endpoint=sb://", text):
        raise ValueError("a connection string, which has Endpoint=sb://…")
    return text


class AzureServiceBusConfig(Fields):
    """A queue or a topic."""

    name: Text = Field(title="Queue or topic")


class AzureServiceBusCredentials(Fields):
    """Of a namespace."""

    connection_string: Annotated[Secret, AfterValidator(_connection_string)] = Field(
        title="Connection string", repr=False
    )


class AzureServiceBus:
    """A queue or topic of Azure Service Bus."""

    label: ClassVar[str] = "Azure Service Bus"
    description: ClassVar[str] = "Send events to a queue or topic of Azure Service Bus"
    Config: ClassVar[type[BaseModel]] = AzureServiceBusConfig
    Credentials: ClassVar[type[BaseModel]] = AzureServiceBusCredentials

    @staticmethod
    def shown(config: AzureServiceBusConfig) -> Shown:
        return Shown(config.name)
