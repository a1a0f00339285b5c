"""Brokers that a cluster names itself: whoever owns it may name an address inside our network."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from event_router.schemas.errors import Unavailable

log = logging.getLogger(__name__)

Vet = Callable[[str], Awaitable[object]]
"""Raises Unavailable for a host that mustn't be reached."""


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
