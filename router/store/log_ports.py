"""What the router asks the log: what API, metrics, manual retry, replay and sweep need to know."""

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple, Protocol

import msgspec

from event_router.consumers.log_rows import State
from event_router.consumers.ports import LogStore
from event_router.router.store.metrics import AttemptGroup, EventGroup, MetricsQuery
from event_router.router.store.paging import Page, Paging
from event_router.schemas.attempt import AttemptHead, Dead, Outcome
from event_router.schemas.delivery import DeliveryHead, DestinationKey
from event_router.schemas.record import Place

EventPosition = tuple[int, str]
AttemptPosition = tuple[int, str]
DeadPosition = tuple[int, str, str]


class TimeRange(msgspec.Struct, frozen=True):
    """Bounds in ms since the epoch; None doesn't bound."""

    gte: int | None = None
    gt: int | None = None
    lte: int | None = None
    lt: int | None = None


class EventFilter(msgspec.Struct, frozen=True):
    """Events that match one of each; an empty tuple matches all."""

    ids: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    time: TimeRange = TimeRange()


class AttemptFilter(msgspec.Struct, frozen=True):
    """Attempts that match one of each; an empty tuple matches all."""

    tenants: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    destination_types: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    status: Literal["success", "failed"] | None = None
    time: TimeRange = TimeRange()


class DeadFilter(msgspec.Struct, frozen=True):
    """Dead records that match one of each; an empty tuple, or None, matches all."""

    tenants: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    time: TimeRange = TimeRange()
    places: tuple[str, ...] = ()
    replayed: bool | None = None


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event, and the destinations that it has deliveries to. `at` is its time in ms,
    `updates` the id of the event that it changes."""

    tenant: str
    id: str
    origin: Place
    topic: str
    source: str
    time: str
    at: int
    content_type: str
    metadata: dict[str, str]
    retry: bool
    data: bytes
    destinations: tuple[str, ...]
    updates: str | None = None


class LoggedAttempt(msgspec.Struct, frozen=True):
    """An attempt; `started` in ms since the epoch, `latency` in ms. `event` when asked for."""

    id: str
    tenant: str
    event_id: str
    origin: Place
    destination: str
    round: int
    attempt: int
    manual: bool
    topic: str
    destination_type: str
    outcome: Outcome
    code: str
    status: int | None
    body: str
    started: int
    latency: float
    event: LoggedEvent | None = None


class LoggedDelivery(msgspec.Struct, frozen=True):
    """The newest round of a delivery: its head is that of its last attempt, so far."""

    head: DeliveryHead
    data: bytes
    state: State


class DeadKey(NamedTuple):
    """Names a dead record."""

    place: str
    destination: str


class LoggedDead(msgspec.Struct, frozen=True):
    """A dead record without its content; (`place`, `destination`) is its key, `at` in ms.
    `destination` is '' when a record was given up, not a delivery. `replayed_at` (ms) is when
    it was first replayed."""

    place: str
    destination: str
    tenant: str | None
    event: str | None
    round: int | None
    reason: str
    at: int
    replayed_at: int | None = None

    @property
    def key(self) -> DeadKey:
        return DeadKey(self.place, self.destination)


class Counts(NamedTuple):
    """Rounds of deliveries by state. `waiting` for their first attempt, `retrying` for another
    one or for being given up."""

    waiting: int
    retrying: int
    dead: int
    delivered: int


class DeliveryRef(NamedTuple):
    """A round of a delivery, and where it stands among the unsettled."""

    next_at: int
    origin: str
    destination: str
    round: int


class Unsettled(msgspec.Struct, frozen=True):
    """A round that is neither delivered nor dead: all that sweep needs to park it.

    The places are those of its last records in `deliveries` and `attempts`, with the topics'
    names left to the caller: `(partition, offset, timestamp)`.
    """

    ref: DeliveryRef
    head: DeliveryHead
    data: bytes
    state: State
    delivery_place: tuple[int, int, int] | None
    attempt_place: tuple[int, int, int] | None
    last_attempt: AttemptHead | None


class Log(LogStore, Protocol):
    """What happened. It lags a little, and is never waited for by a delivery.

    Events that are duplicates, or whose id was taken, are not shown. Lists are ordered by time.
    Everything raises Unavailable when the database is in trouble, lists also InvalidValue for a
    cursor that isn't one of theirs.
    """

    async def events(self, wanted: EventFilter, paging: Paging) -> Page[LoggedEvent]: ...

    async def event(self, event: str, tenant: str | None = None) -> LoggedEvent | None:
        """The newest one of that id; of that tenant, or of any."""
        ...

    async def updates_of(self, event: str, tenant: str, most: int) -> list[LoggedEvent]:
        """The newest events of the tenant that change this one, the oldest of them first."""
        ...

    async def tenants_with(self, event: str) -> list[str]:
        """The tenants that have an event of that id, in order."""
        ...

    async def attempts(
        self, wanted: AttemptFilter, paging: Paging, *, with_events: bool = False
    ) -> Page[LoggedAttempt]: ...

    async def attempt(
        self,
        attempt: str,
        tenant: str | None = None,
        *,
        with_event: bool = False,
    ) -> LoggedAttempt | None: ...

    async def last_delivery(self, event: LoggedEvent, destination: str) -> LoggedDelivery | None:
        """None when the event has no delivery to that destination."""
        ...

    async def dead(self, wanted: DeadFilter, paging: Paging) -> Page[LoggedDead]: ...

    async def dead_record(self, place: str, destination: str) -> Dead | None: ...

    async def event_metrics(self, asked: MetricsQuery) -> list[EventGroup]:
        """By bucket and dimensions, in their order; one group in all when there are neither.
        With `destination_id` an event counts once for each of its destinations."""
        ...

    async def attempt_metrics(self, asked: MetricsQuery) -> list[AttemptGroup]:
        """As `event_metrics`."""
        ...

    async def last_round(self, origin: Place, destination: str) -> int | None:
        """The newest round of a delivery; None when the log doesn't know it."""
        ...

    async def claim_replays(
        self, rounds: Mapping[DeadKey, int], now: int, until: int
    ) -> dict[DeadKey, int]:
        """Those that are the caller's to replay from `now` until `until` (ms), and as which round:
        that of the first claim ever. Not those that are somebody else's, or were replayed."""
        ...

    async def release_replays(self, keys: list[DeadKey]) -> None:
        """They are nobody's now."""
        ...

    async def mark_replayed(self, keys: list[DeadKey], at: int) -> None:
        """These were replayed `at` (ms); the first time stays."""
        ...

    async def counts(self) -> Counts:
        """Cheap: kept while writing, not counted."""
        ...

    async def unsettled(
        self,
        before: int,
        limit: int,
        after: DeliveryRef | None = None,
        *,
        only: DestinationKey | None = None,
        without: Collection[DestinationKey] = (),
    ) -> list[Unsettled]:
        """Up to `limit` rounds that had nothing to do before `before` (ms), by that time, beyond
        `after`; of `only` that destination, or of all but those. A round below one that was
        delivered isn't among them: that has settled it."""
        ...

    async def still_unsettled(self, seen: list[Unsettled]) -> list[Unsettled]:
        """Those whose row is as it was seen."""
        ...

    async def prune(self, before: int, most: int) -> int:
        """Removes up to `most` events received before `before` (ms) with all that belongs to
        them, and dead records as old; how many. Never an event with an unsettled delivery."""
        ...

    async def purge(self, tenant: str, most: int) -> int:
        """Removes up to `most` events of the tenant with all that belongs to them, settled or not;
        once it has none, up to `most` of each other kind of row of it. How many; 0 when nothing
        is left. Records that are read later are written again."""
        ...

    async def aclose(self) -> None: ...
