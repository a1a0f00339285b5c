"""An exchange of RabbitMQ: persistent messages, confirmed by the broker, taken by some queue."""

import asyncio
import re
import ssl
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.addresses import Resolver
from event_router.consumers.sinks.fields import Fields, Needs, Secret, Server, Shown, Text
from event_router.consumers.sinks.hosts import host_and_port, vetted_address
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.tls import (
    CA_CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Certificates,
    ClientKey,
    tls_of,
)
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, InvalidValue, Rejected, TooLarge, Unavailable

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractMessage

LONGEST_NAME = 255
"""Bytes of a routing key, of a header's name and of the other short strings of AMQP 0-9-1."""

_PERSISTENT = 2
_LARGEST = re.compile(r"larger than configured max size ([0-9]+)")


class RabbitMqConfig(Fields):
    """An exchange."""

    server_url: Server = Field(title="Server", description="host:port")
    exchange: Text = Field(title="Exchange")
    tls: bool = Field(False, title="TLS")
    ca_certificate: Certificates | None = CA_CERTIFICATE


class RabbitMqCredentials(Fields):
    """Of a user: with a password, or a client certificate that says who it is (EXTERNAL)."""

    username: Secret | None = Field(
        None, title="Username", description="Empty where a certificate stands for it.", repr=False
    )
    password: Secret | None = Field(None, title="Password", repr=False)
    client_certificate: Certificates | None = CLIENT_CERTIFICATE
    client_key: ClientKey = CLIENT_KEY


class RabbitMq:
    """One destination's exchange. The connection is opened by the first delivery, and again after
    it broke. The routing key is the event's topic."""

    label: ClassVar[str] = "RabbitMQ"
    description: ClassVar[str] = "Send events to an exchange of RabbitMQ"
    Config: ClassVar[type[BaseModel]] = RabbitMqConfig
    Credentials: ClassVar[type[BaseModel]] = RabbitMqCredentials
    needs: ClassVar[Needs] = Needs("rabbitmq", ("aio_pika",))

    def __init__(
        self,
        destination: Destination,
        config: RabbitMqConfig,
        credentials: RabbitMqCredentials,
        resources: SinkResources,
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._fixed = destination.delivery_metadata
        self._resources = resources
        self._troubles = Troubles(credentials)
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    @staticmethod
    def check_together(config: RabbitMqConfig, credentials: RabbitMqCredentials) -> None:
        """Nobody is a guest because something is missing."""
        certified = config.tls and credentials.client_certificate is not None
        named = credentials.username is not None
        if named != (credentials.password is not None):
            missing = "password" if named else "username"
            raise InvalidValue(f"credentials.{missing}", None, "username and password, or neither")
        if not (named or certified):
            expected = "a value, or without one tls and a client_certificate that RabbitMQ knows"
            raise InvalidValue("credentials.username", None, expected)

    @staticmethod
    def shown(config: RabbitMqConfig) -> Shown:
        return Shown(f"{config.server_url} / {config.exchange}")

    async def deliver(self, delivery: Delivery) -> Answer:
        """Once the broker has confirmed it. A message that no queue is bound for comes back, and is
        `target_not_found`; one that a full queue refuses is `throttled`."""
        from aio_pika.exceptions import AMQPError

        message = self._message(delivery)
        async with self._troubles.attempt(self._resources.timeout):
            try:
                channel = await self._opened()
                exchange = await channel.get_exchange(self._config.exchange, ensure=False)
                await exchange.publish(message, delivery.head.topic, mandatory=True)
            except (AMQPError, RuntimeError) as error:  # of what was closed meanwhile
                raise self._trouble(error, len(delivery.data)) from error
        return Answer("OK")

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _opened(self) -> "AbstractChannel":
        """A channel that is open: a mistake, such as an exchange that isn't there, closes it."""
        async with self._opening:
            connection = self._connection
            if connection is None or not _is_open(connection):
                await self.aclose()
                self._connection = self._channel = None
                connection = self._connection = await self._connected()
            if self._channel is None or self._channel.is_closed:
                self._channel = await connection.channel(on_return_raises=True)
            return self._channel

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        return tls_of(self._config, self._credentials)

    async def _connected(self) -> "AbstractConnection":
        from aio_pika import Connection
        from yarl import URL

        host, port = host_and_port(self._config.server_url)
        username = self._credentials.username
        url = URL.build(
            scheme="amqps" if self._tls else "amqp",
            user=username,
            password=self._credentials.password,
            host=host,
            port=port,
            query={"auth": "plain" if username else "external"},
        )
        connection = Connection(url)
        connection.kwargs["transport_factory"] = _ToVetted(self._resources.resolver, self._tls)
        try:
            await connection.connect()
        except BaseException:
            await connection.close()
            raise
        return connection

    def _message(self, delivery: Delivery) -> "AbstractMessage":
        """Raises Rejected for what AMQP has no room for."""
        from aio_pika import Message

        head = delivery.head
        headers = merged_metadata(self._fixed, head)
        _require_short("the topic", head.topic)
        _require_short("the content type", head.content_type)
        _require_short("a name among the metadata", *headers)
        return Message(
            delivery.data,
            headers=dict(headers),
            content_type=head.content_type,
            delivery_mode=_PERSISTENT,
            message_id=head.event if _is_short(head.event) else None,
            timestamp=datetime.fromisoformat(head.time),
            type=head.topic,
        )

    def _trouble(self, error: Exception, size: int) -> Unavailable | TooLarge:
        """Of a message of so many bytes. What is too large closes the channel, and fails what is
        on its way there, too."""
        cause = error.__cause__
        if isinstance(cause, Unavailable):
            return cause
        if isinstance(cause, OSError):
            return self._troubles.of_network(cause)
        if largest := _LARGEST.search(str(error)):
            if size > int(largest[1]):
                return self._troubles.too_large(error)
            return self._troubles.unavailable("connection_reset", error)
        return self._troubles.unavailable(_code(error), error)


def _is_open(connection: "AbstractConnection") -> bool:
    """Of a connection that the server has closed, the library says so but beneath."""
    transport = connection.transport
    return transport is not None and not transport.connection.is_closed


def _code(error: Exception) -> str:
    from aio_pika import exceptions
    from aiormq import exceptions as also
    from pamqp.commands import Basic

    if isinstance(error, exceptions.DeliveryError):
        return "throttled" if isinstance(error.frame, Basic.Nack) else "target_not_found"
    codes: Mapping[Any, str] = {
        exceptions.AuthenticationError: "authentication_failed",
        exceptions.ProbableAuthenticationError: "authentication_failed",
        also.ConnectionNotAllowed: "permission_denied",
        also.ChannelAccessRefused: "permission_denied",
        exceptions.ChannelNotFoundEntity: "target_not_found",
        also.ConnectionResourceError: "throttled",
        exceptions.AMQPChannelError: "request_refused",
        exceptions.IncompatibleProtocolError: "network_error",
        exceptions.AMQPConnectionError: "connection_reset",
        # Another's message closed the channel, or the connection, before ours went out.
        RuntimeError: "connection_reset",
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), "network_error")


def _is_short(text: str) -> bool:
    return len(text.encode()) <= LONGEST_NAME


def _require_short(what: str, *texts: str) -> None:
    if not all(map(_is_short, texts)):
        detail = f"{what} is longer than the {LONGEST_NAME} bytes that AMQP has for it"
        raise Rejected("payload_refused", detail, answer=Answer("payload_refused"))


class _ToVetted:
    """Opens the library's connections: to an address that was vetted, under the host's name."""

    def __init__(self, resolver: Resolver, tls: ssl.SSLContext | None) -> None:
        self._resolver = resolver
        self._tls = tls

    async def create(self, url: Any, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = await vetted_address(self._resolver, url.host)
        name = url.host if self._tls else None
        return await asyncio.open_connection(address, url.port, ssl=self._tls, server_hostname=name)
