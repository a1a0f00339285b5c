"""What was finished and couldn't be committed, in Redis.

    key                                  type    holds
    <group>:finished:<topic>:<number>    STRING  msgpack: timestamps by offset

A group's name begins with the namespace.
"""

from collections.abc import Collection, Mapping

import msgspec

from event_router.consumers.watermark import Finished, Partition
from event_router.router.redis_pipe import RedisPipe, checked, request
from event_router.schemas.errors import Unavailable

KEPT = 600.0
"""Seconds: longer than it takes to start a worker again. Who sets a group's offsets back by hand
later than that gets every record again."""

_decode = msgspec.msgpack.Decoder(dict[int, int]).decode


def _read(value: bytes) -> Finished:
    try:
        return _decode(value)
    except msgspec.MsgspecError as error:
        raise Unavailable("redis", f"what was left is none of ours: {error}") from error


class RedisHandover:
    def __init__(self, pipe: RedisPipe, group: str) -> None:
        self._pipe = pipe
        self._prefix = f"{group}:finished:"

    async def leave(self, finished: Mapping[Partition, Finished]) -> None:
        sets = (
            ("SET", self._key(partition), msgspec.msgpack.encode(some), "PX", int(KEPT * 1000))
            for partition, some in finished.items()
        )
        for reply in await self._pipe.send(request(*sets)):
            checked(reply)

    async def find(self, partitions: Collection[Partition]) -> dict[Partition, Finished]:
        gets = request(*(("GET", self._key(partition)) for partition in partitions))
        replies = zip(partitions, await self._pipe.send(gets), strict=True)
        values = {partition: checked(reply) for partition, reply in replies}
        return {one: _read(value) for one, value in values.items() if value is not None}

    def _key(self, partition: Partition) -> str:
        topic, number = partition
        return f"{self._prefix}{topic}:{number}"
