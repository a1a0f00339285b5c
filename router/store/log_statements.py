"""Writing the log in bulk: raw tuples, one transaction a batch.

The rules by which rows of the same key are merged are those of `consumers/log_rows.py`. SQLite
takes `executemany`; PostgreSQL takes COPY into temporary tables and one INSERT … SELECT from each.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, select

from event_router.consumers.log_rows import (
    AttemptRow,
    DeadRow,
    DeliveryRow,
    EventRow,
    LogRows,
    RoutingRow,
)
from event_router.router.store.tables import delivery_counts

if TYPE_CHECKING:
    import psycopg

Rows = Sequence[tuple[Any, ...]]


class _Target(NamedTuple):
    """A table, its columns and key, and what happens to a row that is there already."""

    table: str
    columns: tuple[str, ...]
    key: str
    merge: str


_TARGETS = (
    _Target("events", EventRow._fields, "origin", "NOTHING"),
    _Target(
        "routings",
        RoutingRow._fields,
        "origin",
        "UPDATE SET at = excluded.at, outcome = excluded.outcome "
        "WHERE (excluded.at, excluded.outcome) < (routings.at, routings.outcome)",
    ),
    _Target("attempts", AttemptRow._fields, "id", "NOTHING"),
    _Target(
        "dead",
        DeadRow._fields,
        "place, destination",
        "UPDATE SET tenant = excluded.tenant, event = excluded.event, round = excluded.round, "
        "reason = excluded.reason, at = excluded.at, head = excluded.head, "
        "key = excluded.key, value = excluded.value "
        "WHERE (excluded.at, excluded.head) < (dead.at, dead.head)",
    ),
    # The last one: see `lock_counts`.
    _Target(
        "deliveries",
        DeliveryRow._fields,
        "origin, destination, round",
        "UPDATE SET "
        "state = CASE WHEN excluded.progress > deliveries.progress "
        "THEN excluded.state ELSE deliveries.state END, "
        "attempt = CASE WHEN excluded.progress > deliveries.progress "
        "THEN excluded.attempt ELSE deliveries.attempt END, "
        "next_at = CASE WHEN (excluded.progress, excluded.next_at) > "
        "(deliveries.progress, deliveries.next_at) "
        "THEN excluded.next_at ELSE deliveries.next_at END, "
        "progress = {greatest}(excluded.progress, deliveries.progress), "
        "began = {least}(excluded.began, deliveries.began), "
        "delivery_place = {greatest}(excluded.delivery_place, deliveries.delivery_place), "
        "attempt_place = {greatest}(excluded.attempt_place, deliveries.attempt_place)",
    ),
)


def _for_sqlite(target: _Target) -> str:
    places = ", ".join("?" * len(target.columns))
    merge = target.merge.format(greatest="max", least="min")
    insert = f"INSERT INTO {target.table} ({', '.join(target.columns)}) VALUES ({places})"  # noqa: S608  names of ours
    return f"{insert} ON CONFLICT ({target.key}) DO {merge}"


class _Copied(NamedTuple):
    """The statements that write one table on PostgreSQL."""

    prepare: str
    copy: str
    merge: str


def _for_postgresql(target: _Target) -> _Copied:
    columns = ", ".join(target.columns)
    new = f"new_{target.table}"
    merge = target.merge.format(greatest="GREATEST", least="LEAST")
    # In the order of the key: two writers that take the same rows then wait for each other in
    # turn, not in a circle.
    insert = f"INSERT INTO {target.table} ({columns}) SELECT {columns} FROM {new}"  # noqa: S608  names of ours
    return _Copied(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {new} (LIKE {target.table}) ON COMMIT DELETE ROWS",
        f"COPY {new} ({columns}) FROM STDIN",
        f"{insert} ORDER BY {target.key} ON CONFLICT ({target.key}) DO {merge}",
    )


_SQLITE = tuple(_for_sqlite(target) for target in _TARGETS)
_POSTGRESQL = tuple(_for_postgresql(target) for target in _TARGETS)


def write_rows(rows: LogRows, connection: Connection) -> None:
    """Writes a batch within the connection's transaction. Raises UnwritableText."""
    driver: Any = connection.connection.driver_connection
    tables: tuple[Rows, ...] = (
        rows.events,
        rows.routings,
        rows.attempts,
        rows.dead,
        rows.deliveries,
    )
    if connection.dialect.name == "sqlite":
        for statement, batch in zip(_SQLITE, tables, strict=True):
            if batch:
                driver.executemany(statement, batch)
        return
    with driver.cursor() as cursor:
        for statements, batch in zip(_POSTGRESQL, tables, strict=True):
            if batch:
                if batch is rows.deliveries:
                    lock_counts(connection)
                _copy(cursor, statements, batch)


def lock_counts(connection: Connection) -> None:
    """Whoever changes deliveries on PostgreSQL goes first through here, until it commits: their
    triggers change the counts, and two writers could wait for each other's in a circle."""
    if connection.dialect.name == "postgresql":
        ordered = select(delivery_counts.c.n).order_by(delivery_counts.c.state)
        connection.execute(ordered.with_for_update())


class UnwritableText(Exception):
    """PostgreSQL's text can't hold U+0000, and a value has one; see `without_nul`."""


def _copy(cursor: "psycopg.Cursor[Any]", statements: _Copied, batch: Rows) -> None:
    from psycopg import DataError  # whoever has a cursor of it has imported it

    cursor.execute(statements.prepare)
    with cursor.copy(statements.copy) as copy:
        try:
            for row in batch:
                copy.write_row(row)
        except DataError as error:
            raise UnwritableText(str(error)) from error
    cursor.execute(statements.merge)


def without_nul(rows: LogRows) -> LogRows:
    """The rows with U+FFFD in the place of each U+0000."""
    return LogRows(*(_cleaned(getattr(rows, name)) for name in LogRows.__struct_fields__))


def _cleaned(rows: Any) -> Any:
    return [
        type(row)(
            *(part.replace("\0", "\ufffd") if isinstance(part, str) else part for part in row)
        )
        for row in rows
    ]
