"""Brokers that a cluster names itself: whoever owns it may name an address inside our network.

aiokafka looks a broker's name up when it connects, and by then the name may lead elsewhere: so its
connections are made here, to the addresses that were vetted.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from aiokafka import client as aiokafka_client
from aiokafka.conn import AIOKafkaConnection

from event_router.consumers.kafka.config import GuardedId, Vet
from event_router.schemas.errors import Unavailable

log = logging.getLogger(__name__)


async def create_conn(host: str, port: int, *, client_id: str, **options: Any) -> Any:
    """As aiokafka's own, but to a vetted address when the client is guarded."""
    connection = AIOKafkaConnection(host, port, client_id=client_id, **options)
    if isinstance(client_id, GuardedId):
        try:
            addresses = await client_id.vet(host)
        except Unavailable as trouble:  # aiokafka goes on after what it knows only
            log.warning("kafka.broker.refused", extra={"detail": str(trouble)})
            raise ConnectionError(str(trouble)) from trouble
        connection._loop = _ToVetted(connection._loop, addresses)  # noqa: SLF001  it is pinned
    await connection.connect()
    return connection


class _ToVetted:
    """An event loop that connects to these addresses, whatever the host's name leads to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, addresses: Sequence[object]) -> None:
        self._loop = loop
        self._addresses = addresses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Any, host: str, port: int, *, ssl: Any) -> Any:
        name = host if ssl else None
        *others, last = map(str, self._addresses)
        for address in others:
            try:
                return await self._loop.create_connection(
                    factory, address, port, ssl=ssl, server_hostname=name
                )
            except OSError as error:
                log.info("kafka.broker.address_failed", extra={"detail": str(error)})
        return await self._loop.create_connection(
            factory, last, port, ssl=ssl, server_hostname=name
        )


aiokafka_client.create_conn = create_conn


def guard(client: Any, vet: Vet) -> None:
    """From now on aiokafka's client connects to no broker of the cluster that wasn't vetted: to
    one that mustn't be reached it is as if nobody answered.

    `_get_conn` is pinned by tests/faust/: there is no public way to stand before a connection.
    """
    connect = client._get_conn  # noqa: SLF001  it is pinned

    async def vetted(node: Any, **options: Any) -> Any:
        if not _is_connected(client, node, options):
            broker = client.cluster.broker_metadata(node)
            try:
                if broker is not None:
                    await vet(broker.host)
            except Unavailable as trouble:
                log.warning("kafka.broker.refused", extra={"detail": str(trouble)})
                return None
        return await connect(node, **options)

    client._get_conn = vetted  # noqa: SLF001  it is pinned


async def vet_cluster(client: Any, vet: Vet) -> None:
    """Every broker that the cluster names. Raises what `vet` raises."""
    for broker in client.cluster.brokers():
        await vet(broker.host)


def _is_connected(client: Any, node: Any, options: dict[str, Any]) -> bool:
    """A connection of another kind to the same broker is a new one, and is vetted."""
    known = client._conns.items()  # noqa: SLF001  it is pinned
    found = [one for key, one in known if key[0] == node and key[1] == options.get("group", key[1])]
    return bool(found) and all(one.connected() for one in found)
