"""Ids seen within the window, in Redis.

    key                                          type    holds
    <namespace>:id:<n>:<m>:<tenant><source><id>  STRING  the first value seen; TTL = the window

n and m are the lengths of tenant and source: no two (tenant, source, id) share a key.
"""

import logging
from collections.abc import Sequence

from event_router.consumers.ports import Sighting
from event_router.router.redis_pipe import (
    RedisPipe,
    Reply,
    checked,
    is_out_of_memory,
    request,
)

log = logging.getLogger(__name__)


class RedisDuplicates:
    """`window` is in seconds. Concurrent calls share the pipe, and so a pipeline."""

    def __init__(self, pipe: RedisPipe, namespace: str, window: float) -> None:
        self._pipe = pipe
        self._prefix = f"{namespace}:id:"
        self._window_ms = int(window * 1000)

    async def claim(self, sightings: Sequence[Sighting]) -> list[bytes | None]:
        """Where memory is used up, what is new isn't remembered: logged, and better than waiting
        for room that only deliveries can make."""
        replies = await self._pipe.send(
            request(
                *(
                    ("SET", self._key(each), each.value, "PX", self._window_ms, "NX", "GET")
                    for each in sightings
                )
            )
        )
        full = [i for i, reply in enumerate(replies) if is_out_of_memory(reply)]
        if full:
            log.warning("duplicates.full", extra={"ids": len(full)})
            for i, reply in zip(full, await self.look([sightings[i] for i in full]), strict=True):
                replies[i] = reply
        return [_value(reply) for reply in replies]

    async def look(self, sightings: Sequence[Sighting]) -> list[bytes | None]:
        gets = request(*(("GET", self._key(each)) for each in sightings))
        return [_value(reply) for reply in await self._pipe.send(gets)]

    def _key(self, sighting: Sighting) -> str:
        tenant, source, id_, _ = sighting
        return f"{self._prefix}{len(tenant)}:{len(source)}:{tenant}{source}{id_}"


def _value(reply: Reply) -> bytes | None:
    value: bytes | None = checked(reply)
    return value
