"""What is asked of the log in numbers, and how times are put into buckets. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal, TypeVar

import msgspec

EventDimension = Literal["tenant_id", "destination_id", "topic"]
AttemptDimension = Literal[
    "tenant_id",
    "destination_id",
    "destination_type",
    "topic",
    "status",
    "code",
    "manual",
    "attempt_number",
]

SECOND = 1_000
DAY = 86_400 * SECOND
MONDAY = 4 * DAY
"""The first Monday of the epoch, in ms: weeks begin on one."""


class Buckets(msgspec.Struct, frozen=True):
    """Times (ms since the epoch) by what they fall into: something `width` long, counted from
    `offset`, or, for what has no one length, that between two of the `edges`."""

    width: int = 0
    offset: int = 0
    edges: tuple[int, ...] = ()

    def of(self, at: int) -> int:
        """When the bucket begins that `at` is in."""
        if self.width:
            return at - (at - self.offset) % self.width
        return max(edge for edge in self.edges if edge <= at)

    def seconds(self, begin: int) -> float:
        """How long the bucket is that begins then."""
        if self.width:
            return self.width / SECOND
        following = self.edges[self.edges.index(begin) + 1]
        return (following - begin) / SECOND

    def within(self, start: int, end: int) -> Iterator[int]:
        """When each bucket begins that has a moment of `start` <= time < `end`."""
        if not self.width:
            yield from (one for one, past in pairwise(self.edges) if one < end and past > start)
            return
        yield from range(self.of(start), end, self.width)


def months(number: int, start: int, end: int) -> Buckets:
    """Buckets of so many calendar months in UTC, that cover `start` to `end`; those of a year
    begin with January when `number` divides 12."""
    first = datetime.fromtimestamp(start / SECOND, UTC)
    month = (first.year * 12 + first.month - 1) // number * number
    edges = [_edge(month)]
    while edges[-1] < end:
        month += number
        edges.append(_edge(month))
    return Buckets(edges=tuple(edges))


def _edge(month: int) -> int:
    return round(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp() * SECOND)


class MetricsQuery(msgspec.Struct, frozen=True):
    """Rows are grouped by bucket, when there are buckets, and by dimensions; `start` <= time <
    `end`, in ms. A filter's values are texts, as the dimension's are. At most `limit` groups."""

    start: int
    end: int
    buckets: Buckets | None = None
    dimensions: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = {}
    percentiles: bool = False
    limit: int = 100_000


class EventGroup(msgspec.Struct, frozen=True):
    """Events of a bucket, with these values of the dimensions."""

    bucket: int | None
    dimensions: tuple[str, ...]
    count: int


class AttemptGroup(msgspec.Struct, frozen=True):
    """Attempts of a bucket, with these values of the dimensions. Retries are those that nobody
    asked for; latencies are in ms, None without attempts, percentiles also when not asked for."""

    bucket: int | None
    dimensions: tuple[str, ...]
    count: int
    successful: int
    first: int
    retries: int
    manual: int
    attempt_number: float | None
    latency: float | None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


G = TypeVar("G", EventGroup, AttemptGroup)


def filled(groups: Sequence[G], asked: MetricsQuery, empty: G) -> Iterator[G]:
    """The groups, and for each bucket without one an empty one, by time: for each combination of
    dimensions that there is, or for the only one there can be."""
    if asked.buckets is None:
        yield from groups
        return
    combinations = sorted({group.dimensions for group in groups})
    if not asked.dimensions:
        combinations = [()]
    known = {(group.bucket, group.dimensions): group for group in groups}
    for bucket in asked.buckets.within(asked.start, asked.end):
        for dimensions in combinations:
            absent = msgspec.structs.replace(empty, bucket=bucket, dimensions=dimensions)
            yield known.get((bucket, dimensions), absent)
