"""A record as it was read from a topic, and a message that is to be written to one."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

Headers = Sequence[tuple[str, bytes | None]]
"""Kafka lets a header's value be null, as it does a record's."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""Bounded by what databases can hold, so that no record wedges those who read it later."""

Moment = Annotated[int, msgspec.Meta(ge=-62_135_596_800_000, le=253_402_300_799_999)]
"""ms since the epoch, within the years 1 to 9999: what can be said as a date."""
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
"""A time that passes."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record read from Kafka. `timestamp` is in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def header(self, name: str) -> bytes | None:
        """The last header of that name, which is the one that counts; None without one, or null."""
        for key, value in reversed(self.headers):
            if key == name:
                return value
        return None


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message to write. Without a `partition` the key's hash picks one. `anywhere`: while that
    one has no leader, another one will do."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None
    anywhere: bool = False


class Place(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where a message lies once Kafka has acknowledged it: an *origin*, when it is an event's.

    A recreated topic counts its offsets from 0 again, so the timestamp (ms) belongs to it.
    """

    topic: str
    partition: Count
    offset: Int64
    timestamp: Int64


def place_of(record: Record) -> Place:
    return Place(record.topic, record.partition, record.offset, record.timestamp)
