"""Commits that follow what is finished, and what to do while none gets through."""

import time
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

from event_router.consumers.health import Health
from event_router.consumers.watermark import Partition, Read, Watermarks

R = TypeVar("R", bound=Read)

KAFKA_COMMITS = "kafka commits"
NOT_COMMITTED = "the group's coordinator takes no commits: check that all brokers run"


class CommitDelay:
    """For how long a commit doesn't get through. What is read meanwhile would be done again by
    whoever has the partition next, so then nothing is."""

    PATIENCE = 1.0  # seconds

    def __init__(self) -> None:
        self._since: float | None = None

    def begin(self, now: float) -> None:
        """A commit is tried, for the first time or again; `now` in seconds."""
        if self._since is None:
            self._since = now

    def end(self) -> None:
        """It was taken, or the partitions are gone."""
        self._since = None

    def is_long(self, now: float) -> bool:
        return self._since is not None and now - self._since >= self.PATIENCE


class Commits(Generic[R]):
    """Of `marks`. `commit` is given positions, and says whether Kafka has taken them."""

    def __init__(
        self,
        marks: Watermarks[R],
        commit: Callable[[Mapping[Partition, int]], Awaitable[bool]],
    ) -> None:
        self._marks = marks
        self._commit = commit
        self._delay = CommitDelay()

    async def __call__(self) -> bool:
        """Up to the lowest unfinished offset of each partition. False when Kafka didn't take them,
        or there was nothing to take."""
        positions = self._marks.to_commit()
        if not positions:
            return False
        self._delay.begin(time.monotonic())
        if not await self._commit(positions):
            return False
        self._marks.committed(positions)
        self._delay.end()
        return True

    def forget(self) -> None:
        """The partitions are others."""
        self._delay.end()

    def held(self, window: int) -> AbstractSet[Partition]:
        """The partitions of which nothing more is to be read: those whose unfinished window is as
        wide as `window`; all while nothing can be committed."""
        if self._delay.is_long(time.monotonic()):
            return self._marks.partitions
        return self._marks.wider_than(window)

    def tell(self, health: Health) -> None:
        if self._delay.is_long(time.monotonic()):
            health.down(KAFKA_COMMITS, NOT_COMMITTED)
        else:
            health.up(KAFKA_COMMITS)
