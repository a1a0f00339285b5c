"""How aiokafka's client learns where partitions are.

It asks only the brokers that it knows: a client that knew of one alone, since the others were away,
would wait for that one for ever when they come back and it goes. So when none answers, one of those
in the configuration is asked, as at the start. And if its task ends, nothing of the client works
any more, and nobody is told: so it is begun again.

What brokers say of a topic that isn't there, it only logs: `Absent` keeps it.

`_md_synchronizer`, `_md_update_fut`, `_metadata_update` and `_conns` are pinned by
tests/faust/test_contract.py.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.client import ConnectionGroup

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds
_NO_SUCH = (kafka_errors.UnknownTopicOrPartitionError, kafka_errors.InvalidTopicError)
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


class _Series(NamedTuple):
    """Times of answers, from the first of a kind on to the last."""

    first: float
    last: float


class Absent:
    """The topics that brokers say aren't there, as long as they say nothing else of them.

    One such answer isn't worth much: a topic that is made just now has it for a moment.
    """

    def __init__(self, cluster: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._update = cluster.update_metadata
        self._said: dict[str, _Series] = {}
        cluster.update_metadata = self._heard

    def seconds(self, topic: str) -> float | None:
        """For how long each answer has said so; None when the last one didn't."""
        said = self._said.get(topic)
        return said.last - said.first if said else None

    def _heard(self, metadata: Any) -> None:
        now = self._clock()
        for code, topic, *_ in metadata.topics:
            if issubclass(kafka_errors.for_code(code), _NO_SUCH):
                first = self._said[topic].first if topic in self._said else now
                self._said[topic] = _Series(first, now)
            else:
                self._said.pop(topic, None)
        self._update(metadata)
