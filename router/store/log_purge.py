"""Forgetting a tenant. Within one transaction, on a connection it is given."""

from typing import Any

from sqlalchemy import Connection, Table, delete, select, tuple_

from event_router.router.store.log_statements import lock_counts
from event_router.router.store.tables import (
    attempts,
    dead,
    deliveries,
    events,
    replay_claims,
    replays,
    routings,
)

# In the order in which they are written: whoever writes the same rows meanwhile waits, and isn't
# waited for. See `lock_counts` for why deliveries come last.
_OF_EVENTS = (events, routings, attempts, deliveries)


def purge(tenant: str, most: int, connection: Connection) -> int:
    # In the order of the index: sorting all that is left for each batch would cost its square.
    of_tenant = select(events.c.origin).where(events.c.tenant == tenant).order_by(events.c.at)
    origins = connection.scalars(of_tenant.limit(most)).all()
    if not origins:
        return _purge_rest(tenant, most, connection)
    for table in _OF_EVENTS:
        _delete(table, table.c.origin.in_(origins), connection)
    return len(origins)


def _purge_rest(tenant: str, most: int, connection: Connection) -> int:
    """The dead, and what has no event: it was written after its event was purged."""
    gone = 0
    for table in (routings, attempts, dead, deliveries):
        key = tuple_(*table.primary_key)
        some = select(*table.primary_key).where(table.c.tenant == tenant)
        some = some.order_by(*table.primary_key).limit(most)
        if table is dead:
            for of_dead in (replays, replay_claims):
                _delete(
                    of_dead, tuple_(of_dead.c.place, of_dead.c.destination).in_(some), connection
                )
        gone += _delete(table, key.in_(some), connection)
    return gone


def _delete(table: Table, which: Any, connection: Connection) -> int:
    if table is deliveries:
        lock_counts(connection)
    return connection.execute(delete(table).where(which)).rowcount
