"""Schemas as single events are checked by them: read now and then, not for each event.

What is found against them is gathered and written once a second at most: a producer that is wrong
about every event must not cost a write each.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from event_router.router.store.ports import Registry
from event_router.router.store.schema_ports import Found
from event_router.schemas.columns import EventSchema, Violation
from event_router.schemas.errors import Unavailable

log = logging.getLogger(__name__)

FRESH = 2.0
PAUSE = 1.0
MOST_TENANTS = 10_000


class Known(NamedTuple):
    """A tenant as it was: whether it is there, and its schemas by topic."""

    exists: bool
    schemas: Mapping[str, EventSchema]


class KnownSchemas:
    """Up to FRESH seconds behind the registry; at once in the process that wrote. `monotonic` is
    in seconds."""

    def __init__(self, registry: Registry, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._known: OrderedDict[str, tuple[float, Known]] = OrderedDict()
        self._found: dict[tuple[str, str], dict[tuple[str, str], Found]] = {}
        self._written = -PAUSE

    async def of(self, tenant: str) -> Known:
        until, known = self._known.get(tenant, (-1.0, _NOBODY))
        if until > self._monotonic():
            return known
        exists = await self._registry.tenant(tenant) is not None
        kept = await self._registry.schemas.all_of(tenant) if exists else []
        known = Known(exists, {one.topic: one.schema for one in kept})
        self._known[tenant] = (self._monotonic() + FRESH, known)
        self._known.move_to_end(tenant)
        if len(self._known) > MOST_TENANTS:
            self._known.popitem(last=False)
        return known

    def forget(self, tenant: str) -> None:
        self._known.pop(tenant, None)

    async def found(
        self, tenant: str, topic: str, event: str, violations: Sequence[Violation], now: int
    ) -> None:
        """`now` in ms."""
        if not violations:
            return
        found = [Found(one.field, one.kind, 1, event, one.desc, now, now) for one in violations]
        self._gather(tenant, topic, found)
        if self._monotonic() - self._written >= PAUSE:
            await self.flush()

    async def flush(self) -> None:
        """What was found is in the registry on return, or waits for it: the event that it was
        found in is published, and whoever sent it mustn't be told otherwise."""
        found, self._found = self._found, {}
        self._written = self._monotonic()
        while found:
            (tenant, topic), by_kind = found.popitem()
            try:
                await self._registry.schemas.record(tenant, topic, list(by_kind.values()))
            except Unavailable as trouble:
                log.warning("violations.not_recorded", extra={"why": str(trouble)})
                found[tenant, topic] = by_kind
                break
        for (tenant, topic), by_kind in found.items():
            self._gather(tenant, topic, by_kind.values())

    def _gather(self, tenant: str, topic: str, found: Iterable[Found]) -> None:
        of_topic = self._found.setdefault((tenant, topic), {})
        for one in found:
            before = of_topic.get((one.field, one.kind))
            of_topic[one.field, one.kind] = one if before is None else _added(before, one)


def _added(one: Found, other: Found) -> Found:
    count, first = one.count + other.count, min(one.first_at, other.first_at)
    last = max(other, one, key=lambda found: found.last_at)
    return msgspec.structs.replace(last, count=count, first_at=first)


_NOBODY = Known(exists=False, schemas={})
