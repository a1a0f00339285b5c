"""One server of Redis: one of people's own, or one that a cluster named."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.exceptions import MovedError


class Address(NamedTuple):
    host: str
    port: int

    def moved(self, error: "MovedError") -> "Address":
        """Where the cluster says that the key is; without a host it is at ours."""
        return Address(error.host or self.host, error.port)


class Node:
    """A client, closed once it was left and nobody uses it any more."""

    def __init__(self, address: Address, client: "Redis") -> None:
        self.address = address
        self._client = client
        self._users = 0
        self._left = False

    @asynccontextmanager
    async def used(self) -> "AsyncIterator[Redis]":
        self._users += 1
        try:
            yield self._client
        finally:
            self._users -= 1
            await self._close_unused()

    async def leave(self) -> None:
        self._left = True
        await self._close_unused()

    async def aclose(self) -> None:
        """Whoever uses it."""
        await self._client.aclose()

    async def _close_unused(self) -> None:
        if self._left and not self._users:
            await self._client.aclose()
