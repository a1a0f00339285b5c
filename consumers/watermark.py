"""Up to where a partition's records are finished, when they finish in any order.

Pure. `subscribe()` and the Faust transport both commit what stands here, and nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar


class Read(Protocol):
    """A record as far as the watermark looks at it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...


R = TypeVar("R", bound=Read)
Partition = tuple[str, int]
_partition_of = attrgetter("topic", "partition")
Finished = Mapping[int, int]
"""Offsets that were done and could not be committed, with their records' timestamps."""
_NONE: Finished = MappingProxyType({})
_NOTHING: Mapping[Partition, Finished] = MappingProxyType({})


class Watermark(Generic[R]):
    """One partition's. Records are read in order of their offsets, with gaps (compaction,
    transactions), and are done in any order.

    Done is who was read: a record counts by identity. So one that was read before the partition
    was lost, or before its topic was recreated, never finishes the one that now has its offset.

    `finished` were done before the partition went and came, here or elsewhere: they are done as
    soon as they are read.
    """

    __slots__ = ("_finished", "_next", "_recognised", "_uncommitted", "_unfinished")

    def __init__(self, finished: Finished = _NONE) -> None:
        self._unfinished: dict[int, R] = {}
        self._next: int | None = None
        self._uncommitted: dict[int, int] = {}
        self._finished = dict(finished)
        self._recognised = False

    def read(self, records: Sequence[R]) -> bool:
        """Adds records of one fetch. True when they begin anew: an offset at or below one read
        before means that the topic was recreated, and what was unfinished is forgotten."""
        if not records:
            return False
        anew = self._next is not None and records[0].offset < self._next
        if anew:
            self._unfinished.clear()
            self._uncommitted.clear()
        self._unfinished.update({record.offset: record for record in records})
        self._uncommitted.update({record.offset: record.timestamp for record in records})
        self._next = records[-1].offset + 1
        self._recognised = bool(self._finished) and self._recognise(records)
        return anew

    def _recognise(self, records: Sequence[R]) -> bool:
        known = self._finished
        same = all(known.get(one.offset, one.timestamp) == one.timestamp for one in records)
        if not same or records[0].offset > max(known):
            known.clear()  # of a former topic, or committed by somebody else
            return False
        found = [one.offset for one in records if known.pop(one.offset, None) is not None]
        for offset in found:
            del self._unfinished[offset]
        return bool(found)

    def to_do(self, records: Sequence[R]) -> Sequence[R]:
        """Of those just read, without what was finished before."""
        return [one for one in records if self.holds(one)] if self._recognised else records

    def committed(self, position: int) -> None:
        """Below `position` nothing will be read again."""
        if self._next is None or position >= self._next:
            self._uncommitted.clear()
        else:
            left = self._uncommitted.items()
            self._uncommitted = {offset: at for offset, at in left if offset >= position}

    @property
    def finished(self) -> dict[int, int]:
        """What is done and not committed, as `__init__` takes it."""
        done = {
            offset: at for offset, at in self._uncommitted.items() if offset not in self._unfinished
        }
        return self._finished | done

    def skip_to(self, offset: int) -> None:
        """Offsets below `offset` that weren't read never will be: they hold no records."""
        if self._next is None or offset > self._next:
            self._next = offset

    def done(self, records: Iterable[R]) -> int:
        """How many of them were unfinished until now; others change nothing."""
        unfinished = self._unfinished
        before = len(unfinished)
        for record in records:
            if unfinished.get(record.offset) is record:
                del unfinished[record.offset]
        return before - len(unfinished)

    @property
    def position(self) -> int | None:
        """The lowest unfinished offset, or the one after the last read: what may be committed.

        None before anything was read.
        """
        return next(iter(self._unfinished), self._next)

    @property
    def end(self) -> int | None:
        """The offset after the last one read."""
        return self._next

    def holds(self, record: R) -> bool:
        """Whether it was read and isn't done."""
        return self._unfinished.get(record.offset) is record

    @property
    def span(self) -> int:
        """Offsets from the position to the end of what was read: how much a crash repeats."""
        position = self.position
        return 0 if self._next is None or position is None else self._next - position

    @property
    def unfinished(self) -> int:
        """Records that were read and are not done."""
        return len(self._unfinished)


class Watermarks(Generic[R]):
    """Those of every partition that is assigned now. What was done in one that went, and could not
    be committed, is remembered until it comes back."""

    def __init__(self) -> None:
        self._marks: dict[Partition, Watermark[R]] = {}
        self._finished: dict[Partition, Finished] = {}
        self._committed: dict[Partition, int] = {}

    def assign(
        self, partitions: Iterable[Partition], found: Mapping[Partition, Finished] = _NOTHING
    ) -> None:
        """Partitions that are assigned from now on, each with a watermark of its own. `found` is
        what others, who had them, finished there and could not commit."""
        for partition in partitions:
            finished = {**found.get(partition, _NONE), **self._finished.pop(partition, _NONE)}
            self._marks[partition] = Watermark(finished)
            self._committed.pop(partition, None)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            mark = self._marks.pop(partition, None)
            self._committed.pop(partition, None)
            if mark is not None and (finished := mark.finished):
                self._finished[partition] = finished

    def uncommitted(self, partitions: Iterable[Partition]) -> dict[Partition, Finished]:
        """What was done in these, which are revoked, and could not be committed."""
        return {one: self._finished[one] for one in partitions if one in self._finished}

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._marks

    def __getitem__(self, partition: Partition) -> Watermark[R]:
        return self._marks[partition]

    @property
    def partitions(self) -> frozenset[Partition]:
        return frozenset(self._marks)

    @property
    def unfinished(self) -> int:
        return sum(mark.unfinished for mark in self._marks.values())

    def read(self, partition: Partition, records: Sequence[R]) -> bool:
        """As `Watermark.read`; records of a partition that isn't assigned are not tracked."""
        mark = self._marks.get(partition)
        if mark is None or not mark.read(records):
            return False
        self._committed.pop(partition, None)
        return True

    def to_do(self, partition: Partition, records: Sequence[R]) -> Sequence[R]:
        """As `Watermark.to_do`; all of a partition that isn't assigned."""
        mark = self._marks.get(partition)
        return records if mark is None else mark.to_do(records)

    def done(self, records: Iterable[R]) -> int:
        """As `Watermark.done`, for records of any partitions; cheapest with neighbours of one."""
        return sum(
            self._marks[partition].done(group)
            for partition, group in groupby(records, _partition_of)
            if partition in self._marks
        )

    def holds(self, record: R) -> bool:
        """As `Watermark.holds`."""
        mark = self._marks.get((record.topic, record.partition))
        return mark is not None and mark.holds(record)

    def wider_than(self, span: int) -> set[Partition]:
        """Partitions whose unfinished window is `span` offsets or more."""
        return {
            partition
            for partition, mark in self._marks.items()
            if mark.unfinished and mark.span >= span
        }

    def to_commit(self) -> dict[Partition, int]:
        """Positions that are not committed yet; tell `committed` what became of them."""
        return {
            partition: position
            for partition, mark in self._marks.items()
            if (position := mark.position) is not None
            and position != self._committed.get(partition)
        }

    def committed(self, positions: Mapping[Partition, int]) -> None:
        """Kafka has taken these."""
        for partition, position in positions.items():
            if partition in self._marks:
                self._committed[partition] = position
                self._marks[partition].committed(position)
