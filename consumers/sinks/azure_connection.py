"""One connection to a queue or topic of Azure Service Bus, and what the library's errors mean."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from event_router.consumers.addresses import Resolver
from event_router.consumers.sinks.azure_namespace import namespace_of, tls_for
from event_router.consumers.sinks.hosts import vetted_address
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.errors import TooLarge, Unavailable

if TYPE_CHECKING:
    from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

T = TypeVar("T")
Question = Callable[["ServiceBusSender"], Awaitable[T]]

_IDLE = 60.0
"""Seconds after which a connection isn't trusted any more: the service closes what is silent."""

_CLOSING = 1.0
_HUNG_UP = "Server unexpectedly closed connection"
"""The library's word for it, in an OSError without a number."""

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


class _Open(NamedTuple):
    client: "ServiceBusClient"
    sender: "ServiceBusSender"


@dataclass
class Breaks:
    """When one of a destination's connections broke last: what was used before is probably broken,
    too, which shows only when it is used."""

    last: float = -math.inf


class Connection:
    """Opened by the first question, and again after one broke or was silent for a while. The
    library takes one call at a time on each."""

    def __init__(
        self,
        connection_string: str,
        name: str,
        resolver: Resolver,
        troubles: Troubles,
        breaks: Breaks,
    ) -> None:
        self._connection_string = connection_string
        self._namespace = namespace_of(connection_string)
        self._name = name
        self._resolver = resolver
        self._troubles = troubles
        self._breaks = breaks
        self._open: _Open | None = None
        self._used = 0.0

    async def asked(self, question: Question[T]) -> T:
        """The sender's answer. Raises Unavailable, TooLarge. After any trouble, a cancel too,
        nobody knows what is on the connection: it goes."""
        link = None
        try:
            sender = await self._opened()
            link = _link(sender)
            answer = await question(sender)
        except Exception as error:
            trouble = self._trouble(_closed(link) or error)
            await self.aclose()
            if trouble.code == "connection_reset":
                self._breaks.last = _now()
            raise trouble from error
        except BaseException:
            await self.aclose()
            raise
        self._used = _now()
        return answer

    async def aclose(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            with suppress(Exception):  # of a connection that broke, the library may say anything
                async with asyncio.timeout(_CLOSING):
                    await opened.sender.close()
                    await opened.client.close()

    async def _opened(self) -> "ServiceBusSender":
        if self._used < max(self._breaks.last, _now() - _IDLE):
            await self.aclose()
        if self._open is None:
            self._open = await self._connected()
        return self._open.sender

    async def _connected(self) -> _Open:
        """To a vetted address, under the namespace's own name; the first message connects."""
        from azure.servicebus import TransportType
        from azure.servicebus.aio import ServiceBusClient

        namespace = self._namespace
        address = await vetted_address(self._resolver, namespace.host)
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

    def _trouble(self, error: Exception) -> TooLarge | Unavailable:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, Unavailable):
                return cause
            if isinstance(cause, OSError):
                return self._of_network(cause)
        kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
        condition = _text(getattr(error, "condition", ""))
        if "MessageSizeExceededError" in kinds or condition == _TOO_LARGE:
            return self._troubles.too_large(error)
        if "AuthenticationException" in kinds:
            return self._troubles.unavailable("authentication_failed", _refusal(causes))
        if condition in _CONDITIONS:
            return self._troubles.unavailable(_CONDITIONS[condition], error)
        code = next((code for kind, code in _CODES.items() if kind in kinds), "request_refused")
        return self._troubles.unavailable(code, error)

    def _of_network(self, error: OSError) -> Unavailable:
        if str(error) == _HUNG_UP:
            return self._troubles.unavailable("connection_reset", error)
        return self._troubles.of_network(error)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _refusal(causes: Sequence[BaseException]) -> str:
    """What the service says of a token: the library's own error keeps it to itself."""
    said = (getattr(cause, "status_description", None) for cause in causes)
    told = next((_text(text) for text in said if text), causes[0])
    return f"check name and key of the connection string: {told}"


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
