"""The registry in SQL: one row a tenant, one row a destination, credentials sealed."""

import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row

from event_router.consumers.ports import Versions
from event_router.router.clock import now_ms
from event_router.router.store import registry_statements as statements
from event_router.router.store.database import Database
from event_router.router.store.destination_rows import DestinationRows
from event_router.router.store.paging import Page, Paging, page, seek
from event_router.router.store.ports import (
    DestinationFields,
    TenantPosition,
    Times,
    Upserted,
    tenant_position,
)
from event_router.router.store.schemas import SqlSchemas
from event_router.router.store.secrets import Secrets
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination, Tenant

log = logging.getLogger(__name__)


class SqlRegistry:
    """A Registry in a database that `migrate(url, "registry")` has prepared."""

    def __init__(
        self,
        url: str,
        secrets: Secrets,
        versions: Versions,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._database = Database(url)
        self.schemas = SqlSchemas(self._database, clock)
        self._rows = DestinationRows(secrets)
        self._versions = versions
        self._clock = clock

    async def upsert_tenant(self, tenant: str, metadata: dict[str, str] | None) -> Upserted:
        work = partial(statements.upsert_tenant, tenant, metadata, self._clock())
        upserted = await self._database.write(work)
        await self._versions.set(tenant)
        return upserted

    async def tenant(self, tenant: str) -> Tenant | None:
        return await self._database.read(partial(statements.find_tenant, tenant))

    async def tenants(self, ids: Collection[str], paging: Paging) -> Page[Tenant]:
        sought = seek(paging, TenantPosition)
        found = await self._database.read(partial(statements.list_tenants, ids, sought))
        return page(found, sought, tenant_position)

    async def count_tenants(self) -> int:
        return await self._database.read(statements.count_tenants)

    async def delete_tenant(self, tenant: str) -> bool:
        deleted = await self._database.write(partial(statements.delete_tenant, tenant))
        if deleted:
            await self._versions.set(tenant)
        return deleted

    async def create(
        self, key: DestinationKey, fields: DestinationFields, times: Times | None = None
    ) -> Destination:
        now = self._clock()
        made = times or Times(now, now)
        row = self._rows.written(key, fields, now) | made._asdict()
        await self._database.write(partial(statements.create, row))
        await self._versions.set(key.tenant)
        return self._rows.made_of(key, fields, row)

    async def replace(
        self, key: DestinationKey, fields: DestinationFields, version: str | None = None
    ) -> Destination | None:
        row = self._rows.written(key, fields, self._clock())
        return await self._write(key, partial(statements.replace, key, row, version))

    async def destination(self, key: DestinationKey) -> Destination | None:
        row = await self._database.read(partial(statements.find, key))
        return None if row is None else self._rows.read(row)

    async def destinations(self, tenants: Collection[str]) -> list[Destination]:
        rows = await self._database.read(partial(statements.list_of, tenants))
        return [self._rows.read(row) for row in rows]

    async def delete(self, key: DestinationKey) -> bool:
        deleted = await self._database.write(partial(statements.delete_destination, key))
        if deleted:
            await self._versions.set(key.tenant)
        return deleted

    async def set_disabled(self, key: DestinationKey, *, disabled: bool) -> Destination | None:
        return await self._write(
            key, partial(statements.set_disabled, key, disabled, self._clock())
        )

    async def disable_unless_changed_since(self, key: DestinationKey, at: int, reason: str) -> bool:
        work = partial(statements.disable_unless_changed_since, key, at, self._clock())
        disabled = await self._database.write(work)
        # Whether by this call or by one before, which couldn't set the token.
        await self._versions.set(key.tenant)
        if disabled:
            named = {"tenant": key.tenant, "destination": key.destination, "reason": reason}
            log.warning("registry.disabled", extra=named)
        return disabled

    async def aclose(self) -> None:
        await self._database.aclose()

    async def _write(
        self, key: DestinationKey, work: Callable[[Connection], Row[Any] | None]
    ) -> Destination | None:
        row = await self._database.write(work)
        if row is None:
            return None
        await self._versions.set(key.tenant)
        return self._rows.read(row)
