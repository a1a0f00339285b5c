"""A queue or topic of Azure Service Bus: the payload as the body, beside application properties."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, Field

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.azure_namespace import checked, namespace_of, tls_for
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.fields import Fields, Needs, Secret, Shown, Text
from event_router.consumers.sinks.hosts import vetted_address
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, TooLarge, Unavailable

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
    from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

T = TypeVar("T")
LONGEST_ID = 128

_IDLE = 60.0
"""Seconds after which a connection isn't trusted any more: the service closes what is silent."""

_CLOSING = 1.0
_CODES = {
    "ServiceBusAuthenticationError": "authentication_failed",
    "ServiceBusAuthorizationError": "permission_denied",
    "MessagingEntityNotFoundError": "target_not_found",
    "MessagingEntityDisabledError": "service_unavailable",
    "ServiceBusQuotaExceededError": "throttled",
    "ServiceBusServerBusyError": "throttled",
    "ServiceBusConnectionError": "connection_reset",
    "ServiceBusCommunicationError": "connection_reset",
    "OperationTimeoutError": "timeout",
}


_CONDITIONS = {
    "amqp:not-found": "target_not_found",
    "amqp:unauthorized-access": "permission_denied",
    "amqp:resource-limit-exceeded": "throttled",
    "com.microsoft:server-busy": "throttled",
    "com.microsoft:entity-disabled": "service_unavailable",
}
_TOO_LARGE = "amqp:link:message-size-exceeded"


class AzureServiceBusConfig(Fields):
    """A queue or a topic."""

    name: Text = Field(title="Queue or topic")


class AzureServiceBusCredentials(Fields):
    """Of a namespace."""

    connection_string: Annotated[Secret, AfterValidator(checked)] = Field(
        title="Connection string", repr=False
    )


class _Open(NamedTuple):
    client: "ServiceBusClient"
    sender: "ServiceBusSender"


class _Pack(NamedTuple):
    """What goes in one message of the protocol."""

    batch: "ServiceBusMessageBatch"
    messages: "list[ServiceBusMessage]"

    async def sent(self, sender: "ServiceBusSender") -> None:
        alone = len(self.messages) == 1
        await sender.send_messages(self.messages[0] if alone else self.batch)


class AzureServiceBus(Batched):
    """One destination's queue or topic. The connection is opened by the first delivery, and again
    after it broke or was silent for a while. The library takes one call at a time; what comes
    meanwhile gathers."""

    label: ClassVar[str] = "Azure Service Bus"
    description: ClassVar[str] = "Send events to a queue or topic of Azure Service Bus"
    Config: ClassVar[type[BaseModel]] = AzureServiceBusConfig
    Credentials: ClassVar[type[BaseModel]] = AzureServiceBusCredentials
    needs: ClassVar[Needs] = Needs("azure", ("azure.servicebus",))
    batch: Batch = Batch(count=100, bytes=200_000, at_once=1)

    def __init__(
        self,
        destination: Destination,
        config: AzureServiceBusConfig,
        credentials: AzureServiceBusCredentials,
        resources: SinkResources,
    ) -> None:
        self._name = config.name
        self._destination = destination
        self._connection_string = credentials.connection_string
        self._namespace = namespace_of(credentials.connection_string)
        self._resources = resources
        self._troubles = Troubles(credentials)
        self._open: _Open | None = None
        self._used = 0.0
        self._one_at_a_time = asyncio.Lock()

    @staticmethod
    def shown(config: AzureServiceBusConfig) -> Shown:
        return Shown(config.name)

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """In as few messages of the protocol as their sizes allow; the service takes each whole or
        not at all."""
        async with self._troubles.attempt(self._resources.timeout), self._one_at_a_time:
            packs = await self._asked(partial(self._packed, deliveries))
            return [result for pack in packs for result in await self._delivered(pack)]

    async def aclose(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            with suppress(Exception):  # of a connection that broke, the library may say anything
                async with asyncio.timeout(_CLOSING):
                    await opened.sender.close()
                    await opened.client.close()

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

    async def _delivered(self, pack: _Pack) -> list[Result]:
        """When a batch is too large after all, one by one."""
        try:
            if not len(pack.batch):
                raise self._troubles.too_large("larger than the service takes")
            await self._asked(pack.sent)
        except Unavailable as trouble:
            return [trouble] * len(pack.messages)
        except TooLarge as refusal:
            if len(pack.messages) == 1:
                return [refusal]
            alone = [_Pack(pack.batch, [message]) for message in pack.messages]
            return [result for one in alone for result in await self._delivered(one)]
        return [Answer("OK")] * len(pack.messages)

    async def _asked(self, question: Callable[["ServiceBusSender"], Awaitable[T]]) -> T:
        """After any trouble, a cancel too, nobody knows what is on the connection: it goes."""
        link = None
        try:
            sender = await self._opened()
            link = _link(sender)
            answer = await question(sender)
        except Exception as error:
            trouble = self._trouble(_closed(link) or error)
            await self.aclose()
            raise trouble from error
        except BaseException:
            await self.aclose()
            raise
        self._used = asyncio.get_running_loop().time()
        return answer

    async def _opened(self) -> "ServiceBusSender":
        if asyncio.get_running_loop().time() - self._used > _IDLE:
            await self.aclose()
        if self._open is None:
            self._open = await self._connected()
        return self._open.sender

    async def _connected(self) -> _Open:
        """To a vetted address, under the namespace's own name; the first message connects."""
        from azure.servicebus import TransportType
        from azure.servicebus.aio import ServiceBusClient

        namespace = self._namespace
        address = await vetted_address(self._resources.resolver, namespace.host)
        literal = f"[{address}]" if ":" in address else address
        client = ServiceBusClient.from_connection_string(
            self._connection_string,
            retry_total=0,
            transport_type=TransportType.Amqp,
            custom_endpoint_address=f"sb://{literal}:{namespace.port}",
            ssl_context=tls_for(namespace.host) if namespace.tls else None,
            keep_alive=0,
        )
        self._open = _Open(client, client.get_queue_sender(self._name))
        await self._open.sender.__aenter__()
        return self._open

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

    def _trouble(self, error: Exception) -> TooLarge | Unavailable:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, Unavailable):
                return cause
            if isinstance(cause, OSError):
                return self._troubles.of_network(cause)
        kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
        condition = _text(getattr(error, "condition", ""))
        if "MessageSizeExceededError" in kinds or condition == _TOO_LARGE:
            return self._troubles.too_large(error)
        if "AuthenticationException" in kinds:
            return self._troubles.unavailable("authentication_failed", error)
        if condition in _CONDITIONS:
            return self._troubles.unavailable(_CONDITIONS[condition], error)
        code = next((code for kind, code in _CODES.items() if kind in kinds), "request_refused")
        return self._troubles.unavailable(code, error)


def _added(batch: "ServiceBusMessageBatch", message: "ServiceBusMessage") -> bool:
    """Unless it has no room."""
    from azure.servicebus.exceptions import MessageSizeExceededError

    try:
        batch.add_message(message)
    except MessageSizeExceededError:
        return False
    return True


def _link(sender: "ServiceBusSender") -> Any:
    """The link that is open, which knows why the service closes it: a queue that isn't there, a
    right that is missing. The library has no public name for it, and where that comes while a
    message is under way, it raises but an unknown error."""
    return getattr(getattr(sender, "_handler", None), "_link", None)


def _closed(link: Any) -> Exception | None:
    error = getattr(link, "_error", None)
    return error if isinstance(error, Exception) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The library keeps what it met beside its own errors."""
    while error is not None:
        yield error
        inner = getattr(error, "inner_exception", None) or getattr(error, "inner_error", None)
        error = inner or error.__cause__ or error.__context__


def _text(condition: Any) -> str:
    value = getattr(condition, "value", condition)
    return value.decode() if isinstance(value, bytes) else str(value)
