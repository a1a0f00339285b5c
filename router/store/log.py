"""The log in SQL."""

from collections.abc import Collection, Mapping
from functools import partial

from event_router.consumers.log_rows import LogRows, place_text
from event_router.router.store import log_metrics
from event_router.router.store import log_queries as queries
from event_router.router.store import log_replays as replaying
from event_router.router.store.database import Database
from event_router.router.store.log_ports import (
    AttemptFilter,
    AttemptPosition,
    Counts,
    DeadFilter,
    DeadKey,
    DeadPosition,
    DeliveryRef,
    EventFilter,
    EventPosition,
    LoggedAttempt,
    LoggedDead,
    LoggedDelivery,
    LoggedEvent,
    Unsettled,
)
from event_router.router.store.log_purge import purge
from event_router.router.store.log_statements import UnwritableText, without_nul, write_rows
from event_router.router.store.log_values import (
    attempt_position,
    dead_position,
    event_position,
)
from event_router.router.store.metrics import AttemptGroup, EventGroup, MetricsQuery
from event_router.router.store.paging import Page, Paging, page, seek
from event_router.schemas.attempt import Dead
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.record import Place


class SqlLog:
    """A Log in a database that `migrate(url, "log")` has prepared."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    async def write(self, rows: LogRows) -> None:
        try:
            await self._database.write(partial(write_rows, rows))
        except UnwritableText:
            await self._database.write(partial(write_rows, without_nul(rows)))

    async def events(self, wanted: EventFilter, paging: Paging) -> Page[LoggedEvent]:
        sought = seek(paging, EventPosition)
        found = await self._database.read(partial(queries.list_events, wanted, sought))
        return page(found, sought, event_position)

    async def event(self, event: str, tenant: str | None = None) -> LoggedEvent | None:
        return await self._database.read(partial(queries.find_event, event, tenant))

    async def updates_of(self, event: str, tenant: str, most: int) -> list[LoggedEvent]:
        return await self._database.read(partial(queries.list_updates, event, tenant, most))

    async def tenants_with(self, event: str) -> list[str]:
        return await self._database.read(partial(queries.tenants_with, event))

    async def attempts(
        self, wanted: AttemptFilter, paging: Paging, *, with_events: bool = False
    ) -> Page[LoggedAttempt]:
        sought = seek(paging, AttemptPosition)
        work = partial(queries.list_attempts, wanted, sought, with_events)
        return page(await self._database.read(work), sought, attempt_position)

    async def attempt(
        self,
        attempt: str,
        tenant: str | None = None,
        *,
        with_event: bool = False,
    ) -> LoggedAttempt | None:
        return await self._database.read(partial(queries.find_attempt, attempt, tenant, with_event))

    async def last_delivery(self, event: LoggedEvent, destination: str) -> LoggedDelivery | None:
        work = partial(queries.last_delivery, place_text(event.origin), destination)
        return await self._database.read(work)

    async def dead(self, wanted: DeadFilter, paging: Paging) -> Page[LoggedDead]:
        sought = seek(paging, DeadPosition)
        found = await self._database.read(partial(queries.list_dead, wanted, sought))
        return page(found, sought, dead_position)

    async def dead_record(self, place: str, destination: str) -> Dead | None:
        return await self._database.read(partial(queries.find_dead, place, destination))

    async def event_metrics(self, asked: MetricsQuery) -> list[EventGroup]:
        return await self._database.read(partial(log_metrics.count_events, asked))

    async def attempt_metrics(self, asked: MetricsQuery) -> list[AttemptGroup]:
        return await self._database.read(partial(log_metrics.count_attempts, asked))

    async def last_round(self, origin: Place, destination: str) -> int | None:
        work = partial(queries.last_round, place_text(origin), destination)
        return await self._database.read(work)

    async def claim_replays(
        self, rounds: Mapping[DeadKey, int], now: int, until: int
    ) -> dict[DeadKey, int]:
        return await self._database.write(partial(replaying.claim, rounds, now, until))

    async def release_replays(self, keys: list[DeadKey]) -> None:
        await self._database.write(partial(replaying.release, keys))

    async def mark_replayed(self, keys: list[DeadKey], at: int) -> None:
        await self._database.write(partial(replaying.mark, keys, at))

    async def counts(self) -> Counts:
        return await self._database.read(queries.count)

    async def unsettled(
        self,
        before: int,
        limit: int,
        after: DeliveryRef | None = None,
        *,
        only: DestinationKey | None = None,
        without: Collection[DestinationKey] = (),
    ) -> list[Unsettled]:
        work = partial(queries.list_unsettled, before, limit, after, only, without)
        return await self._database.read(work)

    async def still_unsettled(self, seen: list[Unsettled]) -> list[Unsettled]:
        return await self._database.read(partial(queries.still_unsettled, seen))

    async def prune(self, before: int, most: int) -> int:
        return await self._database.write(partial(queries.prune, before, most))

    async def purge(self, tenant: str, most: int) -> int:
        return await self._database.write(partial(purge, tenant, most))

    async def aclose(self) -> None:
        await self._database.aclose()
