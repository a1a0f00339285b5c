"""aiokafka's consumer as a member of a group, as `Reader` and the stream under Faust have it."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer

from event_router.consumers.kafka.config import KafkaConfig
from event_router.consumers.kafka.connecting import connect
from event_router.consumers.kafka.metadata import keep_learning
from event_router.consumers.kafka.records import read_odd_headers
from event_router.consumers.pace import Pace

LEAVE_PATIENCE = 5.0  # seconds
LONGEST_POLL_INTERVAL = 2**31 - 1  # ms: our watchdog looks for stalls, the client must not leave


def group_consumer(config: KafkaConfig, group: str, rebalance_timeout: float) -> AIOKafkaConsumer:
    """aiokafka's consumer as a member of `group`. It commits nothing by itself, and asks what to
    do about a partition without a commit (`lost_place`)."""
    read_odd_headers()
    consumer = AIOKafkaConsumer(
        **config.connection(),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_wait_ms=config.fetch_wait_ms,
        session_timeout_ms=int(config.session_timeout * 1000),
        heartbeat_interval_ms=int(min(3.0, max(0.1, config.session_timeout / 10)) * 1000),
        rebalance_timeout_ms=int(rebalance_timeout * 1000),
        max_poll_interval_ms=LONGEST_POLL_INTERVAL,
    )
    keep_learning(
        consumer._client,  # noqa: SLF001  there is no public way to its client
        lambda: connect(config),
    )
    return consumer


def pace_fetches(consumer: AIOKafkaConsumer, pace: Pace, found: Callable[[], None]) -> None:
    """From now on each fetch is sent no sooner than a pause after the last one brought something.
    `found` is called as soon as one has: the client's own way of telling takes longer.

    The pause comes before the fetch, since aiokafka fetches nothing more from a node while records
    of its last answer wait to be taken. `_proc_fetch_request` is pinned by tests/faust/.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  there is no public way to pause before a fetch
    fetch = fetcher._proc_fetch_request  # noqa: SLF001  it is pinned

    async def paced(assignment: Any, node_id: Any, request: Any) -> bool:
        pause = pace.pause(time.monotonic())
        if pause:
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                return False  # as `fetch` itself: nobody wants the answer any more
        brought = bool(await fetch(assignment, node_id, request))
        if brought:
            found()
        return brought

    fetcher._proc_fetch_request = paced  # noqa: SLF001  it is pinned


class Membership:
    """Until when the group can't have given a member's partitions to others behind its back.

    A broker waits for the session's timeout after each heartbeat, so that is how long one holds
    that was answered, counted from when it was sent. `_do_heartbeat` is pinned by tests/faust/.
    """

    def __init__(self, consumer: AIOKafkaConsumer, session_timeout: float) -> None:
        """The consumer was started."""
        self._until = -math.inf
        self._session_timeout = session_timeout
        coordinator = consumer._coordinator  # noqa: SLF001  there is no public way to know
        self._beat = coordinator._do_heartbeat  # noqa: SLF001  it is pinned
        coordinator._do_heartbeat = self._do_heartbeat  # noqa: SLF001  it is pinned

    @property
    def is_sure(self) -> bool:
        return time.monotonic() < self._until

    async def _do_heartbeat(self) -> bool:
        sent = time.monotonic()
        answered = bool(await self._beat())
        self._until = sent + self._session_timeout if answered else -math.inf
        return answered
