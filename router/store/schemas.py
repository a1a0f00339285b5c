"""Event schemas in SQL, beside the tenants."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from event_router.router.store.database import Database
from event_router.router.store.ordering import insert_if_new
from event_router.router.store.ports import NoSuchTenant
from event_router.router.store.schema_ports import Found, KeptSchema
from event_router.router.store.tables import event_schemas, tenants, violations
from event_router.schemas.columns import EventSchema, read_schema, write_schema
from event_router.schemas.errors import Unavailable


class SqlSchemas:
    """Schemas, in the database that a registry has opened and closes."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    async def put(self, tenant: str, topic: str, schema: EventSchema) -> tuple[KeptSchema, bool]:
        return await self._database.write(partial(_put, tenant, topic, schema, self._clock()))

    async def get(self, tenant: str, topic: str) -> KeptSchema | None:
        return await self._database.read(partial(_get, tenant, topic))

    async def all_of(self, tenant: str) -> list[KeptSchema]:
        return await self._database.read(partial(_all_of, tenant))

    async def delete(self, tenant: str, topic: str) -> bool:
        return await self._database.write(partial(_delete, tenant, topic))

    async def record(self, tenant: str, topic: str, found: Sequence[Found]) -> None:
        if found:
            await self._database.write(partial(_record, tenant, topic, found))

    async def violations(self, tenant: str, topic: str) -> list[Found]:
        return await self._database.read(partial(_violations, tenant, topic))


def forget_tenant(tenant: str, connection: Connection) -> None:
    for table in (event_schemas, violations):
        connection.execute(delete(table).where(table.c.tenant == tenant))


def _put(
    tenant: str, topic: str, schema: EventSchema, now: int, connection: Connection
) -> tuple[KeptSchema, bool]:
    its_tenant = select(tenants.c.id).where(tenants.c.id == tenant)
    if connection.execute(its_tenant.with_for_update(read=True)).one_or_none() is None:
        raise NoSuchTenant(tenant)
    written = {"schema": write_schema(schema).decode(), "updated_at": now}
    row = {"tenant": tenant, "topic": topic, "created_at": now} | written
    created = insert_if_new(connection, event_schemas, row)
    if not created:
        connection.execute(update(event_schemas).where(_schema_is(tenant, topic)).values(written))
    kept = _get(tenant, topic, connection)
    if kept is None:
        raise Unavailable("database", f"the schema of {topic} was deleted meanwhile")
    return kept, created


def _get(tenant: str, topic: str, connection: Connection) -> KeptSchema | None:
    query = select(event_schemas).where(_schema_is(tenant, topic))
    row = connection.execute(query).one_or_none()
    return None if row is None else _kept(row)


def _all_of(tenant: str, connection: Connection) -> list[KeptSchema]:
    query = select(event_schemas).where(event_schemas.c.tenant == tenant)
    return [_kept(row) for row in connection.execute(query.order_by(event_schemas.c.topic))]


def _delete(tenant: str, topic: str, connection: Connection) -> bool:
    its = (violations.c.tenant == tenant) & (violations.c.topic == topic)
    connection.execute(delete(violations).where(its))
    return connection.execute(delete(event_schemas).where(_schema_is(tenant, topic))).rowcount > 0


def _record(tenant: str, topic: str, found: Sequence[Found], connection: Connection) -> None:
    if _get(tenant, topic, connection) is None:
        return
    for one in found:
        row = {
            "tenant": tenant,
            "topic": topic,
            "field": one.field,
            "kind": one.kind,
            "count": one.count,
            "event": one.event,
            "detail": one.detail,
            "first_at": one.first_at,
            "last_at": one.last_at,
        }
        if not insert_if_new(connection, violations, row):
            connection.execute(_more(tenant, topic, one))


def _more(tenant: str, topic: str, one: Found) -> Any:
    key = (violations.c.tenant == tenant) & (violations.c.topic == topic)
    its = key & (violations.c.field == one.field) & (violations.c.kind == one.kind)
    values = {
        "count": violations.c["count"] + one.count,
        "event": one.event,
        "detail": one.detail,
        "last_at": one.last_at,
    }
    return update(violations).where(its).values(values)


def _violations(tenant: str, topic: str, connection: Connection) -> list[Found]:
    its = (violations.c.tenant == tenant) & (violations.c.topic == topic)
    query = select(violations).where(its)
    order = (violations.c["count"].desc(), violations.c.field, violations.c.kind)
    columns = [violations.c[name] for name in Found.__struct_fields__]
    ordered = query.with_only_columns(*columns).order_by(*order)
    return [Found(*row) for row in connection.execute(ordered)]


def _schema_is(tenant: str, topic: str) -> Any:
    return (event_schemas.c.tenant == tenant) & (event_schemas.c.topic == topic)


def _kept(row: Row[Any]) -> KeptSchema:
    schema = read_schema(row.schema.encode())
    return KeptSchema(row.tenant, row.topic, schema, row.created_at, row.updated_at)
