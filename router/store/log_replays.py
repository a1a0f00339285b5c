"""Who replays which of the dead. Each function is one transaction's work, on a connection it is
given."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from event_router.router.store.log_ports import DeadKey
from event_router.router.store.tables import replay_claims, replays

_FOR_EVER = 1 << 60
_KEY = (replay_claims.c.place, replay_claims.c.destination)


def claim(
    rounds: Mapping[DeadKey, int], now: int, until: int, connection: Connection
) -> dict[DeadKey, int]:
    if not rounds:
        return {}
    # In order: two that claim the same ones then wait for each other in turn, not in a circle.
    rows = [{**key._asdict(), "round": rounds[key], "until": until} for key in sorted(rounds)]
    insert = _insert(replay_claims, connection).values(rows)
    mine = insert.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={"until": insert.excluded.until},
        where=replay_claims.c.until <= now,
    ).returning(*_KEY, replay_claims.c.round)
    return {DeadKey(row.place, row.destination): row.round for row in connection.execute(mine)}


def release(keys: Sequence[DeadKey], connection: Connection) -> None:
    _set_until(keys, 0, connection)


def mark(keys: Sequence[DeadKey], at: int, connection: Connection) -> None:
    if keys:
        rows = [{**key._asdict(), "at": at} for key in keys]
        connection.execute(_insert(replays, connection).on_conflict_do_nothing(), rows)
        _set_until(keys, _FOR_EVER, connection)


def _set_until(keys: Sequence[DeadKey], until: int, connection: Connection) -> None:
    theirs = tuple_(*_KEY).in_([tuple(key) for key in keys])
    connection.execute(update(replay_claims).where(theirs).values(until=until))


def _insert(table: Table, connection: Connection) -> Any:
    sqlite = connection.dialect.name == "sqlite"
    return sqlite_insert(table) if sqlite else postgresql_insert(table)
