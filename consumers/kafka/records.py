"""Reading batches at which aiokafka raises, or takes all memory.

Headers' names may not be UTF-8; and what unpacks to too much is read as one record without content.

Kafka takes any bytes as a name. aiokafka decodes strictly, so that one such record would stop
everybody who reads its partition, for ever. The names leaned on are pinned by
tests/test_odd_records.py.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, SupportsIndex, overload

from aiokafka import ConsumerRecord
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from event_router.consumers.kafka.unpacking import unread
from event_router.schemas.record import Record

_OVERHEAD = struct.calcsize(">qi")
_LENGTH = struct.Struct(">i")
_LENGTH_AT = struct.calcsize(">q")


def record_of(record: ConsumerRecord) -> Record:
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        record.headers,
    )


def read_odd_headers() -> None:
    """From now on aiokafka reads names that are not UTF-8 with `\\xff` for the byte 255."""
    fetcher.MemoryRecords = Batches


class Batches:
    """aiokafka's MemoryRecords over what was fetched of a partition; see there."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._batches = MemoryRecords(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def next_batch(self) -> Any:
        batch = self._batches.next_batch()
        if batch is None:
            return None
        (length,) = _LENGTH.unpack_from(self._data, self._at + _LENGTH_AT)
        end = self._at + _OVERHEAD + length
        raw, self._at = self._data[self._at : end], end
        return _Batch(batch, raw)


class _Batch:
    """aiokafka's batch, and what to read it from again."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        if (instead := unread(self._raw)) is not None:
            yield instead
            return
        read = 0
        try:
            for record in self._batch:
                yield record
                read += 1
        except UnicodeDecodeError:
            yield from islice(_lenient(self._raw), read, None)


def _lenient(raw: memoryview) -> Any:
    batch = _DefaultRecordBatchPy(raw)
    batch._maybe_uncompress()  # noqa: SLF001  what is decoded is no argument of anything
    batch._buffer = _Lenient(batch._buffer)  # noqa: SLF001  likewise
    return batch


class _Lenient(bytearray):
    """Its parts decode whatever they hold."""

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, index: slice, /) -> bytearray: ...
    def __getitem__(self, index: Any, /) -> Any:
        part = super().__getitem__(index)
        return part if isinstance(part, int) else _Lenient(part)

    def decode(self, encoding: str = "utf-8", _errors: str = "") -> str:
        return super().decode(encoding, "backslashreplace")
