"""An exchange of RabbitMQ."""

from typing import ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.sinks.fields import Fields, Secret, Server, Shown, Text


class RabbitMqConfig(Fields):
    """An exchange."""

    server_url: Server = Field(title="Server", description="host:port")
    exchange: Text = Field(title="Exchange")
    tls: bool = Field(False, title="TLS")


class RabbitMqCredentials(Fields):
    """Of a user."""

    username: Secret = Field(title="Username", repr=False)
    password: Secret = Field(title="Password", repr=False)


class RabbitMq:
    """An exchange of RabbitMQ."""

    label: ClassVar[str] = "RabbitMQ"
    description: ClassVar[str] = "Send events to an exchange of RabbitMQ"
    Config: ClassVar[type[BaseModel]] = RabbitMqConfig
    Credentials: ClassVar[type[BaseModel]] = RabbitMqCredentials

    @staticmethod
    def shown(config: RabbitMqConfig) -> Shown:
        return Shown(f"{config.server_url} / {config.exchange}")
