"""How aiokafka's client learns where partitions are.

It asks only the brokers that it knows: a client that knew of one alone, since the others were away,
would wait for that one for ever when they come back and it goes. So when none answers, one of those
in the configuration is asked, as at the start. And if its task ends, nothing of the client works
any more, and nobody is told: so it is begun again.

`_md_synchronizer`, `_md_update_fut`, `_metadata_update` and `_conns` are pinned by
tests/faust/test_contract.py.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.client import ConnectionGroup

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds
_BOOTSTRAP = ("bootstrap", ConnectionGroup.DEFAULT)


def keep_learning(client: Any, connect: Callable[[], Awaitable[Any]]) -> None:
    """To be called before the client is started. `connect` returns a connection to a broker of the
    configuration, or None."""
    _ask_the_configured(client, connect)
    _begin_again(client)


def _ask_the_configured(client: Any, connect: Callable[[], Awaitable[Any]]) -> None:
    update = client._metadata_update  # noqa: SLF001  it is pinned

    async def update_from_any(cluster: Any, topics: Any) -> bool:
        if await update(cluster, topics):
            return True
        connection = await connect()
        if connection is None:
            return False
        former = client._conns.pop(_BOOTSTRAP, None)  # noqa: SLF001  it is pinned
        if former is not None:
            former.close()
        client._conns[_BOOTSTRAP] = connection  # noqa: SLF001  it is pinned
        log.info("kafka.bootstrapped_again")
        return bool(await update(cluster, topics))

    client._metadata_update = update_from_any  # noqa: SLF001  it is pinned


def _begin_again(client: Any) -> None:
    learn = client._md_synchronizer  # noqa: SLF001  it is pinned

    async def learn_on() -> None:
        while True:
            try:
                await learn()
            except Exception:
                log.exception("kafka.metadata_failed")
            waited_for = client._md_update_fut  # noqa: SLF001  it is pinned
            if waited_for is not None and waited_for.done():
                client._md_update_fut = None  # noqa: SLF001  it is pinned
            await asyncio.sleep(PAUSE)

    client._md_synchronizer = learn_on  # noqa: SLF001  it is pinned
