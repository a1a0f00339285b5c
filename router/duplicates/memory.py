"""Ids seen within the window, in memory: for tests."""

import time
from collections.abc import Callable, Sequence

from event_router.consumers.ports import Sighting


class MemoryDuplicates:
    """`window` and `clock` are in seconds."""

    def __init__(self, window: float, *, clock: Callable[[], float] = time.time) -> None:
        self._window = window
        self._clock = clock
        self._seen: dict[tuple[str, str, str], tuple[bytes, float]] = {}

    async def claim(self, sightings: Sequence[Sighting]) -> list[bytes | None]:
        return [self._claim(sighting) for sighting in sightings]

    async def look(self, sightings: Sequence[Sighting]) -> list[bytes | None]:
        return [self._get(sighting) for sighting in sightings]

    def _claim(self, sighting: Sighting) -> bytes | None:
        before = self._get(sighting)
        if before is None:
            self._seen[sighting[:3]] = (sighting.value, self._clock() + self._window)
        return before

    def _get(self, sighting: Sighting) -> bytes | None:
        value, until = self._seen.get(sighting[:3], (None, 0.0))
        return value if until > self._clock() else None
