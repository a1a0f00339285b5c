"""What a worker has finished and couldn't commit, told to whoever has the partition next.

Without it those records are done again: nothing is lost, but what was delivered is delivered twice.
So it is never waited for: where it fails, that is what happens.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from event_router.consumers.watermark import Finished, Partition
from event_router.schemas.errors import Unavailable

log = logging.getLogger(__name__)

PATIENCE = 1.0  # seconds


class Handover(Protocol):
    """Of one group. Both raise Unavailable."""

    async def leave(self, finished: Mapping[Partition, Finished]) -> None:
        """Takes the place of what was left for the same partitions before."""
        ...

    async def find(self, partitions: Collection[Partition]) -> dict[Partition, Finished]:
        """What was left for them, some minutes ago at most; without those that have nothing."""
        ...


class MemoryHandover:
    """Within one process."""

    def __init__(self) -> None:
        self._left: dict[Partition, Finished] = {}

    async def leave(self, finished: Mapping[Partition, Finished]) -> None:
        self._left.update(finished)

    async def find(self, partitions: Collection[Partition]) -> dict[Partition, Finished]:
        return {one: self._left[one] for one in partitions if one in self._left}


async def hand_over(handover: Handover | None, finished: Mapping[Partition, Finished]) -> None:
    """Returns after PATIENCE at the latest."""
    if handover is None or not finished:
        return
    records = sum(map(len, finished.values()))
    try:
        async with asyncio.timeout(PATIENCE):
            await handover.leave(finished)
    except (TimeoutError, Unavailable) as trouble:
        log.warning("handover.failed", extra={"records": records, "detail": repr(trouble)})
    else:
        log.info("handover.left", extra={"records": records})


async def take_over(
    handover: Handover | None, partitions: Collection[Partition]
) -> dict[Partition, Finished]:
    """What was left, {} when that can't be told within PATIENCE."""
    if handover is None or not partitions:
        return {}
    try:
        async with asyncio.timeout(PATIENCE):
            found = await handover.find(partitions)
    except (TimeoutError, Unavailable) as trouble:
        log.warning("handover.unknown", extra={"detail": repr(trouble)})
        return {}
    if found:
        log.info("handover.found", extra={"records": sum(map(len, found.values()))})
    return found
