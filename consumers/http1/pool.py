"""Connections that wait for their next request: a pool per destination, bounded and expiring."""

import asyncio
from collections.abc import Hashable

from event_router.consumers.http1.connection import Connection
from event_router.consumers.http1.target import Endpoint


class Pools:
    """Idle connections by pool. At most `per_pool` of each and `limit` in all, the longest idle
    going first; none idle for longer than `seconds`; and none older than `max_age` seconds, so that
    a name that moves is followed."""

    def __init__(self, *, limit: int, per_pool: int, seconds: float, max_age: float) -> None:
        self._limit = limit
        self._per_pool = per_pool
        self._seconds = seconds
        self._max_age = max_age
        self._loop = asyncio.get_running_loop()
        self._pools: dict[Hashable, dict[Connection, None]] = {}
        self._idle: dict[Connection, Hashable] = {}  # the longest idle first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, pool: Hashable, endpoint: Endpoint) -> Connection | None:
        """The one that was used last: it is the least likely to be closed by now.

        One to another endpoint is closed: the destination has moved.
        """
        while connections := self._pools.get(pool):
            connection = next(reversed(connections))
            self.discard(connection)
            if connection.endpoint == endpoint and connection.reusable:
                return connection
            connection.abort()
        return None

    def put(self, pool: Hashable, connection: Connection) -> None:
        now = self._loop.time()
        if now - connection.opened_at > self._max_age:
            connection.abort()
            return
        connection.idle_since = now
        connections = self._pools.setdefault(pool, {})
        connections[connection] = None
        self._idle[connection] = pool
        if len(connections) > self._per_pool:
            self._close(next(iter(connections)))
        elif len(self._idle) > self._limit:
            self._close(next(iter(self._idle)))
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._expire)

    def discard(self, connection: Connection) -> None:
        """It is taken, or closed: no longer idle here."""
        pool = self._idle.pop(connection, None)
        if pool is not None:
            connections = self._pools[pool]
            del connections[connection]
            if not connections:
                del self._pools[pool]

    def close_pool(self, pool: Hashable) -> None:
        for connection in list(self._pools.get(pool, ())):
            self._close(connection)

    def close(self) -> None:
        for connection in list(self._idle):
            self._close(connection)
        if self._timer is not None:
            self._timer.cancel()

    def _close(self, connection: Connection) -> None:
        self.discard(connection)
        connection.abort()

    def _expire(self) -> None:
        self._timer = None
        latest = self._loop.time() - self._seconds
        while self._idle:
            connection = next(iter(self._idle))
            if connection.idle_since > latest:
                expires = connection.idle_since + self._seconds
                self._timer = self._loop.call_at(expires, self._expire)
                break
            self._close(connection)
