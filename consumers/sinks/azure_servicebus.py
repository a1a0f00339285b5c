"""A queue or topic of Azure Service Bus: the payload as the body, beside application properties."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, BaseModel, Field

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.azure_connection import Breaks, Connection
from event_router.consumers.sinks.azure_namespace import checked, entity_of
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.fields import Fields, Needs, Secret, Shown, Text
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, InvalidValue, TooLarge, Unavailable

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
    from azure.servicebus.aio import ServiceBusSender

LONGEST_ID = 128
MOST_CONNECTIONS = 4


class AzureServiceBusConfig(Fields):
    """A queue or a topic."""

    name: Text = Field(title="Queue or topic")


class AzureServiceBusCredentials(Fields):
    """Of a namespace."""

    connection_string: Annotated[Secret, AfterValidator(checked)] = Field(
        title="Connection string", repr=False
    )


class _Pack(NamedTuple):
    """What goes in one message of the protocol."""

    batch: "ServiceBusMessageBatch"
    messages: "list[ServiceBusMessage]"

    async def sent(self, sender: "ServiceBusSender") -> None:
        alone = len(self.messages) == 1
        await sender.send_messages(self.messages[0] if alone else self.batch)


class AzureServiceBus(Batched):
    """One destination's queue or topic. The library takes one call at a time on a connection:
    several calls have several, and what comes meanwhile gathers."""

    label: ClassVar[str] = "Azure Service Bus"
    description: ClassVar[str] = "Send events to a queue or topic of Azure Service Bus"
    Config: ClassVar[type[BaseModel]] = AzureServiceBusConfig
    Credentials: ClassVar[type[BaseModel]] = AzureServiceBusCredentials
    needs: ClassVar[Needs] = Needs("azure", ("azure.servicebus",))
    batch: Batch = Batch(count=100, bytes=200_000, at_once=MOST_CONNECTIONS)

    def __init__(
        self,
        destination: Destination,
        config: AzureServiceBusConfig,
        credentials: AzureServiceBusCredentials,
        resources: SinkResources,
    ) -> None:
        self._destination = destination
        self._timeout = resources.timeout
        self._troubles = Troubles(credentials)
        string, breaks = credentials.connection_string, Breaks()
        self._connections = [
            Connection(string, config.name, resources.resolver, self._troubles, breaks)
            for _ in range(MOST_CONNECTIONS)
        ]
        self._unused = list(self._connections)
        self._most = asyncio.Semaphore(MOST_CONNECTIONS)

    @staticmethod
    def check_together(
        config: AzureServiceBusConfig, credentials: AzureServiceBusCredentials
    ) -> None:
        """A connection string may be for one queue or topic only."""
        entity = entity_of(credentials.connection_string)
        if entity not in (None, config.name):
            expected = f"{entity!r}, the EntityPath of the connection string"
            raise InvalidValue("config.name", config.name, expected)

    @staticmethod
    def shown(config: AzureServiceBusConfig) -> Shown:
        return Shown(config.name)

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """In as few messages of the protocol as their sizes allow; the service takes each whole or
        not at all."""
        async with self._troubles.attempt(self._timeout), self._free() as connection:
            packs = await connection.asked(partial(self._packed, deliveries))
            return [result for pack in packs for result in await self._delivered(pack, connection)]

    async def aclose(self) -> None:
        for connection in self._connections:
            await connection.aclose()

    @asynccontextmanager
    async def _free(self) -> AsyncIterator[Connection]:
        """A connection that nobody else uses meanwhile: the one that was used last."""
        async with self._most:
            connection = self._unused.pop()
            try:
                yield connection
            finally:
                self._unused.append(connection)

    async def _packed(
        self, deliveries: Sequence[Delivery], sender: "ServiceBusSender"
    ) -> list[_Pack]:
        """Within the size that the service told; what is larger has a pack that stays empty."""
        packs: list[_Pack] = []
        for message in map(self._message, deliveries):
            if not (packs and len(packs[-1].batch) and _added(packs[-1].batch, message)):
                packs.append(_Pack(await sender.create_message_batch(), []))
                _added(packs[-1].batch, message)
            packs[-1].messages.append(message)
        return packs

    async def _delivered(self, pack: _Pack, connection: Connection) -> list[Result]:
        """When a batch is too large after all, one by one."""
        try:
            if not len(pack.batch):
                raise self._troubles.too_large("larger than the service takes")
            await connection.asked(pack.sent)
        except Unavailable as trouble:
            return [trouble] * len(pack.messages)
        except TooLarge as refusal:
            if len(pack.messages) == 1:
                return [refusal]
            alone = [_Pack(pack.batch, [message]) for message in pack.messages]
            return [result for one in alone for result in await self._delivered(one, connection)]
        return [Answer("OK")] * len(pack.messages)

    def _message(self, delivery: Delivery) -> "ServiceBusMessage":
        from azure.servicebus import ServiceBusMessage

        head = delivery.head
        metadata: Any = merged_metadata(self._destination.delivery_metadata, head)
        name = f"{self._destination.id}/{head.event}/{head.round}"
        long = len(name) > LONGEST_ID
        return ServiceBusMessage(
            delivery.data,
            application_properties=metadata,
            message_id=hashlib.sha256(name.encode()).hexdigest() if long else name,
            content_type=head.content_type,
            subject=head.topic,
        )


def _added(batch: "ServiceBusMessageBatch", message: "ServiceBusMessage") -> bool:
    """Unless it has no room."""
    from azure.servicebus.exceptions import MessageSizeExceededError

    try:
        batch.add_message(message)
    except MessageSizeExceededError:
        return False
    return True
