"""The registry's SQL. Each function is one transaction's work, on a connection it is given."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from event_router.router.store.destination_rows import from_json, to_json
from event_router.router.store.ordering import in_order, insert_if_new
from event_router.router.store.paging import Seek
from event_router.router.store.ports import AlreadyExists, NoSuchTenant, Upserted
from event_router.router.store.schemas import forget_tenant
from event_router.router.store.tables import destinations, jobs, tenants
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Tenant
from event_router.schemas.errors import Unavailable
from event_router.schemas.ids import new_id


def upsert_tenant(
    tenant: str, metadata: dict[str, str] | None, now: int, connection: Connection
) -> Upserted:
    written = {"metadata": to_json(metadata), "updated_at": now}
    created = insert_if_new(connection, tenants, written | {"id": tenant, "created_at": now})
    if not created:
        connection.execute(update(tenants).where(tenants.c.id == tenant).values(written))
    found = find_tenant(tenant, connection)
    if found is None:
        raise Unavailable("database", f"the tenant {tenant} was deleted meanwhile")
    return Upserted(found, created)


def find_tenant(tenant: str, connection: Connection) -> Tenant | None:
    row = connection.execute(select(tenants).where(tenants.c.id == tenant)).one_or_none()
    return None if row is None else _tenant_of(row)


def list_tenants(ids: Collection[str], sought: Seek, connection: Connection) -> list[Tenant]:
    query = select(tenants)
    if ids:
        query = query.where(tenants.c.id.in_(ids))
    ordered = in_order(query, sought, tenants.c.created_at, tenants.c.id)
    return [_tenant_of(row) for row in connection.execute(ordered)]


def count_tenants(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(tenants)).scalar_one()


def delete_tenant(tenant: str, connection: Connection) -> bool:
    # The tenant first: whoever creates a destination of it meanwhile holds a lock on its row.
    gone = connection.execute(delete(tenants).where(tenants.c.id == tenant))
    connection.execute(delete(destinations).where(destinations.c.tenant == tenant))
    connection.execute(delete(jobs).where(jobs.c.tenant == tenant))
    forget_tenant(tenant, connection)
    return gone.rowcount > 0


def create(row: dict[str, Any], connection: Connection) -> None:
    its_tenant = select(tenants.c.id).where(tenants.c.id == row["tenant"])
    if connection.execute(its_tenant.with_for_update(read=True)).one_or_none() is None:
        raise NoSuchTenant(row["tenant"])
    if not insert_if_new(connection, destinations, row):
        raise AlreadyExists(f"{row['tenant']}/{row['id']}")


def find(key: DestinationKey, connection: Connection) -> Row[Any] | None:
    return connection.execute(select(destinations).where(_is(key))).one_or_none()


def list_of(tenants_of: Collection[str], connection: Connection) -> list[Row[Any]]:
    query = (
        select(destinations)
        .where(destinations.c.tenant.in_(tenants_of))
        .order_by(destinations.c.created_at, destinations.c.tenant, destinations.c.id)
    )
    return list(connection.execute(query))


def replace(
    key: DestinationKey, values: dict[str, Any], version: str | None, connection: Connection
) -> Row[Any] | None:
    anew = update(destinations).where(_is(key)).values(values)
    if version is not None:
        anew = anew.where(destinations.c.version == version)
    replaced = connection.execute(anew).rowcount > 0
    return find(key, connection) if replaced else None


def delete_destination(key: DestinationKey, connection: Connection) -> bool:
    return connection.execute(delete(destinations).where(_is(key))).rowcount > 0


def set_disabled(
    key: DestinationKey, disabled: bool, now: int, connection: Connection
) -> Row[Any] | None:
    changes = (
        destinations.c.disabled_at.is_(None)
        if disabled
        else destinations.c.disabled_at.is_not(None)
    )
    connection.execute(
        update(destinations)
        .where(_is(key), changes)
        .values(_disabled(now if disabled else None, now))
    )
    return find(key, connection)


def disable_unless_changed_since(
    key: DestinationKey, at: int, now: int, connection: Connection
) -> bool:
    as_it_was = (destinations.c.disabled_at.is_(None), destinations.c.updated_at < at)
    disabled = update(destinations).where(_is(key), *as_it_was).values(_disabled(now, now))
    return connection.execute(disabled).rowcount > 0


def _disabled(at: int | None, now: int) -> dict[str, Any]:
    return {"disabled_at": at, "updated_at": now, "version": new_id()}


def _is(key: DestinationKey) -> Any:
    return (destinations.c.tenant == key.tenant) & (destinations.c.id == key.destination)


def _tenant_of(row: Row[Any]) -> Tenant:
    metadata = from_json(row.metadata, dict[str, str])
    return Tenant(row.id, row.created_at, row.updated_at, metadata)
