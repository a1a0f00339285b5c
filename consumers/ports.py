"""What hops and workers need from the world, as small protocols.

Each has one contract suite in `tests/contracts/`, which every implementation passes, the fakes in
`event_router.consumers.memory` and `event_router.router.memory` included. Adapters raise
Unavailable for trouble that may pass; other exceptions are mistakes of ours.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from event_router.consumers.log_rows import LogRows
from event_router.schemas.delivery import Delivery, DeliveryHead, DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, Rejected, TooLarge, Unavailable
from event_router.schemas.record import Message, Place


class Producer(Protocol):
    """Writes to Kafka."""

    async def send(
        self, messages: Sequence[Message], deadline: float | None = None
    ) -> list[Place | TooLarge]:
        """One result a message, in order, once all in-sync replicas have acknowledged each.

        Trouble that may pass is waited out, and only what isn't acknowledged is sent again: for
        ever, or with a `deadline` (seconds) until then, when it raises Unavailable with the code
        of the trouble it met. After that nobody knows whether a message was written.
        """
        ...

    async def aclose(self) -> None: ...


_CLOCKS_DIFFER_BY = 60_000


def due_since(head: DeliveryHead) -> int:
    """When a delivery that waits for nothing but room is due: in the order of publishing, as far as
    those differ who were routed within a minute. Surely in the past, whosever clock said when that
    was; and whoever publishes with old timestamps is a minute ahead of others at most."""
    earliest = head.began - _CLOCKS_DIFFER_BY
    published = head.began if head.round else head.origin.timestamp
    return max(min(max(published, earliest), head.began) - _CLOCKS_DIFFER_BY, 0)


class EntryKey(NamedTuple):
    """An entry of the schedule: one per delivery and round, in its destination's queue."""

    destination: DestinationKey
    member: str


def member_of(head: DeliveryHead, round: int) -> str:  # noqa: A002  a round is a round
    """The entry's name within its destination's queue."""
    origin = head.origin
    return f"{origin.partition}:{origin.offset}:{origin.timestamp}:{round}:{head.event}"


def entry_key(head: DeliveryHead) -> EntryKey:
    return EntryKey(head.key, member_of(head, head.round))


class Parked(msgspec.Struct, frozen=True, gc=False):
    """A delivery that waits until `due` (ms since the epoch). What is due is taken in that order:
    see `due_since`."""

    delivery: Delivery
    due: int


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to attempt an entry, until it runs out or somebody parks a later attempt.

    `token` is the entry's exact score: nobody else's lease has the same.
    """

    entry: EntryKey
    token: str


class Claimed(msgspec.Struct, frozen=True, gc=False):
    lease: Lease
    delivery: Delivery


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Up to `count` due entries of one destination, their bodies at most `max_bytes` in all (but
    at least one entry, however large)."""

    destination: DestinationKey
    count: int
    max_bytes: int


class Held(msgspec.Struct, frozen=True, gc=False):
    """An attempt that is running: its delivery, and its lease when it already has one."""

    delivery: Delivery
    lease: Lease | None = None


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A delivery that needs nothing more: its own entry and those of lower rounds go.

    With `up_to_attempt` it was given up, not delivered: lower rounds stay (a manual retry leaves
    the automatic schedule as it was), and so does an own entry of a later attempt.
    """

    head: DeliveryHead
    up_to_attempt: int | None = None


class Due(NamedTuple):
    """A destination with waiting entries. `at` (ms) is when its first one may be claimed: it is
    due, its lease has run out, and the door is open."""

    destination: DestinationKey
    at: int


class Look(msgspec.Struct, frozen=True, gc=False):
    """What `due` saw: the clock of the schedule (ms), and the heads of the queues."""

    now: int
    due: list[Due]


class Backoff(msgspec.Struct, frozen=True):
    """A destination's failures in a row, since when (ms), and until when its circuit is open."""

    failures: int = 0
    since: int = 0
    open_until: int = 0


class ScheduleStats(NamedTuple):
    """Entries and bytes in the schedule, and how many entries are under a lease now."""

    entries: int
    bytes: int
    leased: int


ParkResult = Literal["parked", "kept", "refused"]


class Schedule(Protocol):
    """A queue per destination, from which the worker takes as it has room (design.md).

    All clocks are the schedule's own. Losing all of it delays and loses nothing.
    """

    async def park(self, entries: Sequence[Parked]) -> list[ParkResult]:
        """`kept`: there is an entry of an equal or later attempt, and it stays as it was.
        `refused`: the bound in bytes is reached. The bound refuses new entries only: an overwrite
        of a lower attempt, leased or waiting, always succeeds."""
        ...

    async def hold(self, running: Sequence[Held], seconds: float) -> list[Lease | None]:
        """Each entry under a lease that ends in `seconds`; never refused for the bound.

        Made when it isn't there (again, after all was lost), renewed when the shown lease is the
        entry's; with 0 seconds it is handed back, due at once. None: an equal attempt waits or is
        leased to somebody else, or a later one is there; it stays as it was.
        """
        ...

    async def claim(self, claims: Sequence[Claim], seconds: float) -> list[Claimed]:
        """Due entries, oldest first, each now under a lease of `seconds`. None behind a door."""
        ...

    async def finish(self, leases: Sequence[Lease]) -> None:
        """Removes each entry whose lease is still exactly the one shown; others stay."""
        ...

    async def remove(self, settled: Sequence[Settled]) -> None: ...

    async def has(self, entries: Sequence[EntryKey]) -> list[bool]:
        """Whether each is there, waiting or leased, of whatever attempt; one an entry, in order."""
        ...

    async def door(self, destination: DestinationKey, seconds: float) -> None:
        """Closed for `seconds`, at most MAX_DOOR; 0 opens it."""
        ...

    async def due(self, shards: Collection[int], limit: Mapping[int, int]) -> Look:
        """Of each shard the first `limit[shard]` (1 without an entry) destinations, soonest
        first, with times in the future included."""
        ...

    async def backoff(
        self, destinations: Collection[DestinationKey]
    ) -> dict[DestinationKey, Backoff]:
        """What is kept of each; a destination without failures isn't in it."""
        ...

    async def set_backoff(self, backoff: Mapping[DestinationKey, Backoff | None]) -> None:
        """None forgets."""
        ...

    async def stats(self) -> ScheduleStats: ...

    async def intact_for(self) -> float | None:
        """Seconds since `mark`; None when what it wrote isn't there: everything parked was lost."""
        ...

    async def mark(self) -> None:
        """From now on a loss shows in `intact_for`."""
        ...

    async def turn(self, owner: str, seconds: float) -> bool:
        """Whether it is this owner's turn to sweep, for `seconds` from now. Nobody else's is it
        meanwhile, unless all is lost."""
        ...

    async def aclose(self) -> None: ...


MAX_DOOR = 60.0
"""Seconds: a lost wake costs a minute, not a delivery."""

MAX_LEASE = 600.0
"""Seconds. Longer leases are asked for in vain: what runs longer is renewed."""


class Sighting(NamedTuple):
    """An id that a client chose: (tenant, source, id), and what was seen under it."""

    tenant: str
    source: str
    id: str
    value: bytes


class Duplicates(Protocol):
    """Ids seen within the window. An earlier value is kept."""

    async def claim(self, sightings: Sequence[Sighting]) -> list[bytes | None]:
        """What was there before, one a sighting, in order; None: nothing, and now the value is."""
        ...

    async def look(self, sightings: Sequence[Sighting]) -> list[bytes | None]:
        """What is there; writes nothing."""
        ...


class Versions(Protocol):
    """A token per tenant that changes with every write to its destinations."""

    async def set(self, tenant: str) -> str:
        """A new token, in place on return."""
        ...

    async def get(self, tenants: Sequence[str]) -> list[str | None]:
        """One a tenant, in order; None when there is none (never set, or Redis was lost)."""
        ...


class TenantView(msgspec.Struct, frozen=True):
    """A tenant's destinations by id, disabled ones included, as of one version.

    `by_topic` is matching's to remember in: a view never changes, so what was found once holds.
    """

    tenant: str
    destinations: dict[str, Destination]
    by_topic: dict[str, tuple[Destination, ...]] = {}


class Directory(Protocol):
    """Tenants' destinations, never older than the last write that was answered."""

    async def views(self, tenants: Collection[str]) -> Mapping[str, TenantView]:
        """One view a tenant; without destinations when there is no such tenant."""
        ...


class LogStore(Protocol):
    """Keeps what happened."""

    async def write(self, rows: LogRows) -> None:
        """All rows are committed on return, in one transaction. Rows whose key is there already
        are merged by the rules of `log_rows`."""
        ...


class Sink(Protocol):
    """Delivers to one destination. Made by its class from a `Destination`; see `sinks/`."""

    async def deliver(self, delivery: Delivery) -> Answer:
        """What the destination answered once it has taken the delivery.

        Raises Unavailable when a later try may succeed, Rejected when none can.
        """
        ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """How much a service takes in one call: deliveries, and bytes of payloads and metadata; and
    how many calls run at once to one destination, while the others gather."""

    count: int
    bytes: int
    at_once: int = 4


Result = Answer | Unavailable | Rejected
"""What became of one delivery of a batch: the trouble stands for what `deliver` raises."""


@runtime_checkable
class BatchSink(Sink, Protocol):
    """A sink whose service takes several deliveries in one call."""

    batch: Batch

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """One result a delivery, in order. There are at most `batch.count` of them, of at most
        `batch.bytes` by `sinks.metadata.weight` (or a single one, however large), and the time of
        one attempt is for all.

        Raises Unavailable or Rejected for what is the trouble of all of them.
        """
        ...
