"""Our HTTP/1.1 sender: one POST to a destination within one deadline.

It is what the project exists for: a general client costs several times as much, and pinning of
addresses, deadlines and caps belong inside. Redirects are answers like any other.
"""

import asyncio
import ssl
from collections.abc import Hashable, Iterable
from ipaddress import IPv4Address, IPv6Address

from event_router.consumers.addresses import Resolver
from event_router.consumers.http1.connection import Connection, DiedIdle, HttpAnswer
from event_router.consumers.http1.connection_codes import broken
from event_router.consumers.http1.pool import Pools
from event_router.consumers.http1.target import Endpoint, Target, header_lines
from event_router.consumers.http1.tls_contexts import TlsContexts
from event_router.schemas.errors import Unavailable

CONNECT_PATIENCE = 5.0


class Sender:
    """POSTs over kept-alive connections, which are shared within a pool and never across pools.

    To be made inside a running loop.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        tls: ssl.SSLContext | None = None,
        idle_seconds: float = 20.0,
        idle_per_pool: int = 64,
        idle_limit: int = 1024,
        max_age: float = 300.0,
    ) -> None:
        self._resolver = resolver
        self._tls = TlsContexts(tls or ssl.create_default_context())
        self._loop = asyncio.get_running_loop()
        self._pools = Pools(
            limit=idle_limit, per_pool=idle_per_pool, seconds=idle_seconds, max_age=max_age
        )
        self._connections: set[Connection] = set()
        self._all_lost = asyncio.Event()
        self._closed = False

    async def post(
        self,
        target: Target,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        pool: Hashable,
        deadline: float,
    ) -> HttpAnswer:
        """The final answer, whatever its status.

        `deadline` is on the loop's clock and holds for everything: DNS, connect, TLS, request and
        answer. Raises Unavailable (`timeout`, `dns_error`, `forbidden_address`,
        `connection_refused`, `connection_reset`, `network_unreachable`, `network_error`,
        `tls_…`, `protocol_error`), and Rejected for a header that can't be sent.

        A request may reach the server twice: once more on a fresh connection when a kept one
        turns out to have died.
        """
        request = b"".join(
            (target.head, header_lines(headers), b"content-length: %d\r\n\r\n" % len(body), body)
        )
        connection = self._pools.take(pool, target.endpoint)
        if connection is not None:
            try:
                return await self._exchange(connection, request, pool, deadline)
            except DiedIdle:
                pass
        connection = await self._open(target.endpoint, deadline)
        return await self._exchange(connection, request, pool, deadline)

    def close_pool(self, pool: Hashable) -> None:
        """Closes the idle connections of a pool, those of others stay."""
        self._pools.close_pool(pool)

    async def aclose(self) -> None:
        """Closes every connection; what is under way ends as Unavailable."""
        self._closed = True
        self._pools.close()
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            await self._all_lost.wait()

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._pools)

    async def _exchange(
        self, connection: Connection, request: bytes, pool: Hashable, deadline: float
    ) -> HttpAnswer:
        answer = await connection.exchange(request, deadline)
        if self._closed:
            connection.abort()
        elif connection.reusable:
            self._pools.put(pool, connection)
        return answer

    async def _open(self, endpoint: Endpoint, deadline: float) -> Connection:
        if self._closed:
            raise Unavailable("network_error", "the sender is closed")
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._resolver.addresses(endpoint.host)
                return await self._connect_to_any(endpoint, addresses, deadline)
        except TimeoutError as error:
            raise Unavailable("timeout", f"no connection to {endpoint.host} in time") from error

    async def _connect_to_any(
        self, endpoint: Endpoint, addresses: Iterable[IPv4Address | IPv6Address], deadline: float
    ) -> Connection:
        """To the first that answers; each gets an even share of the time that is left, and
        CONNECT_PATIENCE at most while there are others."""
        waiting = list(addresses)
        while True:
            address = waiting.pop(0)
            share = (deadline - self._loop.time()) / (len(waiting) + 1)
            share = min(share, CONNECT_PATIENCE) if waiting else share
            try:
                async with asyncio.timeout(share):
                    return await self._connect(endpoint, str(address))
            except OSError as error:
                if not waiting:
                    raise broken(error, f"{endpoint.host}:{endpoint.port}: {error}") from error

    async def _connect(self, endpoint: Endpoint, address: str) -> Connection:
        tls = await self._tls.of(endpoint.material) if endpoint.tls else None
        _, connection = await self._loop.create_connection(
            lambda: Connection(endpoint, self._lost),
            address,
            endpoint.port,
            ssl=tls,
            server_hostname=endpoint.host if endpoint.tls else None,
        )
        self._connections.add(connection)
        return connection

    def _lost(self, connection: Connection) -> None:
        self._pools.discard(connection)
        self._connections.discard(connection)
        if self._closed and not self._connections:
            self._all_lost.set()
