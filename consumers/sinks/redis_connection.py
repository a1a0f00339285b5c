"""Connections to Redis: to vetted addresses, and with the last word of a server that hangs up."""

import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from event_router.consumers.addresses import Resolver
from event_router.consumers.sinks.hosts import vetted_address
from event_router.consumers.sinks.redis_node import Address
from event_router.consumers.sinks.trouble import Troubles

if TYPE_CHECKING:
    from redis.asyncio import Redis

_TOO_LONG = "invalid bulk length"
"""Of a value that is larger than `proto-max-bulk-len`: our lengths are never wrong otherwise."""


class To(NamedTuple):
    """How a connection is made, and what its troubles are."""

    resolver: Resolver
    tls: ssl.SSLContext | None
    troubles: Troubles


def client_at(address: Address, to: To, timeout: float, **options: Any) -> "Redis":
    """Connects to nothing yet. Raises TooLarge beside the library's own errors."""
    from redis.asyncio import BlockingConnectionPool, Connection, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = BlockingConnectionPool(
        timeout=None,  # the attempt's own holds
        connection_class=_connecting(Connection, to),
        host=address.host,
        port=address.port,
        retry=Retry(NoBackoff(), 1),
        # The library's own wait_for may swallow the attempt's deadline: it has one, too.
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        **options,
    )
    return Redis.from_pool(pool)


def _connecting(connection: Any, to: To) -> Any:
    """The class of connections, but to a vetted address, under the host's own name."""
    from redis.exceptions import RedisError

    class Vetted(connection):  # type: ignore[misc]  # it is imported late
        _stream: Any = None

        async def _connect(self) -> None:
            self._stream = None
            self._address = await vetted_address(to.resolver, self.host)
            await super()._connect()
            self._stream = self._reader

        def _connection_arguments(self) -> dict[str, Any]:
            arguments = {**super()._connection_arguments(), "host": self._address}
            named = {"ssl": to.tls, "server_hostname": self.host} if to.tls else {}
            return arguments | named

        async def send_packed_command(self, *given: Any, **more: Any) -> None:
            try:
                await super().send_packed_command(*given, **more)
            except RedisError as error:
                await self._raise_too_large(error)
                raise

        async def read_response(self, *given: Any, **more: Any) -> Any:
            try:
                return await super().read_response(*given, **more)
            except RedisError as error:
                await self._raise_too_large(error)
                raise

        async def _raise_too_large(self, error: Exception) -> None:
            """If that is what the server says, or said before it hung up: it doesn't read to the
            end, so that nobody may get as far as to read its answer."""
            unread = bytes(self._stream._buffer) if self._stream else b""  # noqa: SLF001  see above
            if _TOO_LONG in str(error) or _TOO_LONG.encode() in unread:
                await self.disconnect(nowait=True)
                detail = "larger than the server's proto-max-bulk-len"
                raise to.troubles.too_large(detail) from error

    return Vetted
