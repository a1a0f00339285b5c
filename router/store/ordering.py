"""What several queries say in the same way."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from event_router.router.store.paging import Seek


def in_order(query: Select[Any], sought: Seek, *position: ColumnElement[Any]) -> Select[Any]:
    """The rows that were sought, by `position`, whose first column has an index."""
    first = position[0]
    if sought.start is not None:
        edge = tuple_(*sought.start)
        beyond = tuple_(*position) < edge if sought.descending else tuple_(*position) > edge
        # Said of the first column too: a planner takes its index for that, if not for the tuple.
        start = sought.start[0]
        query = query.where(beyond, first <= start if sought.descending else first >= start)
    order = [column.desc() if sought.descending else column.asc() for column in position]
    return query.order_by(*order).limit(sought.limit + 1)


def insert_if_new(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """False when there is a row of that primary key already; it stays as it is."""
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).values(row).on_conflict_do_nothing()
    counted = statement.execution_options(preserve_rowcount=True)
    return bool(connection.execute(counted).rowcount)
