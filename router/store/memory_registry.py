"""A registry in memory, for tests. It stores bytes, as a database would."""

from collections.abc import Callable, Collection

import msgspec

from event_router.consumers.ports import Versions
from event_router.router.clock import now_ms
from event_router.router.store.memory_schemas import MemorySchemas
from event_router.router.store.paging import Page, Paging, page, seek
from event_router.router.store.ports import (
    AlreadyExists,
    DestinationFields,
    NoSuchTenant,
    TenantPosition,
    Times,
    Upserted,
    tenant_position,
)
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination, Tenant
from event_router.schemas.ids import new_id

_encode = msgspec.json.encode
_tenant = msgspec.json.Decoder(Tenant).decode
_destination = msgspec.json.Decoder(Destination).decode


class MemoryRegistry:
    """A Registry whose content ends with the process."""

    def __init__(self, versions: Versions, clock: Callable[[], int] = now_ms) -> None:
        self._versions = versions
        self._clock = clock
        self._tenants: dict[str, bytes] = {}
        self._destinations: dict[DestinationKey, bytes] = {}
        self.schemas = MemorySchemas(self._tenants, clock)

    async def upsert_tenant(self, tenant: str, metadata: dict[str, str] | None) -> Upserted:
        now = self._clock()
        before = await self.tenant(tenant)
        after = Tenant(tenant, before.created_at if before else now, now, metadata)
        self._tenants[tenant] = _encode(after)
        await self._versions.set(tenant)
        return Upserted(after, created=before is None)

    async def tenant(self, tenant: str) -> Tenant | None:
        stored = self._tenants.get(tenant)
        return None if stored is None else _tenant(stored)

    async def tenants(self, ids: Collection[str], paging: Paging) -> Page[Tenant]:
        sought = seek(paging, TenantPosition)
        wanted = [_tenant(stored) for id_, stored in self._tenants.items() if not ids or id_ in ids]
        return page(sought.of(wanted, tenant_position), sought, tenant_position)

    async def count_tenants(self) -> int:
        return len(self._tenants)

    async def delete_tenant(self, tenant: str) -> bool:
        if self._tenants.pop(tenant, None) is None:
            return False
        for key in [key for key in self._destinations if key.tenant == tenant]:
            del self._destinations[key]
        self.schemas.forget_tenant(tenant)
        await self._versions.set(tenant)
        return True

    async def create(
        self, key: DestinationKey, fields: DestinationFields, times: Times | None = None
    ) -> Destination:
        if key.tenant not in self._tenants:
            raise NoSuchTenant(key.tenant)
        if key in self._destinations:
            raise AlreadyExists(f"{key.tenant}/{key.destination}")
        now = self._clock()
        return await self._put(_made(key, fields, times or Times(now, now)))

    async def replace(
        self, key: DestinationKey, fields: DestinationFields, version: str | None = None
    ) -> Destination | None:
        before = await self.destination(key)
        if before is None or version not in {None, before.version}:
            return None
        return await self._put(_made(key, fields, Times(before.created_at, self._clock())))

    async def destination(self, key: DestinationKey) -> Destination | None:
        stored = self._destinations.get(key)
        return None if stored is None else _destination(stored)

    async def destinations(self, tenants: Collection[str]) -> list[Destination]:
        found = [
            _destination(one) for key, one in self._destinations.items() if key.tenant in tenants
        ]
        return sorted(found, key=lambda one: (one.created_at, one.tenant, one.id))

    async def delete(self, key: DestinationKey) -> bool:
        if self._destinations.pop(key, None) is None:
            return False
        await self._versions.set(key.tenant)
        return True

    async def set_disabled(self, key: DestinationKey, *, disabled: bool) -> Destination | None:
        found = await self.destination(key)
        if found is None or (found.disabled_at is not None) == disabled:
            return found
        return await self._put(self._switched(found, disabled=disabled))

    async def disable_unless_changed_since(self, key: DestinationKey, at: int, reason: str) -> bool:  # noqa: ARG002  nobody reads this registry's log
        found = await self.destination(key)
        if found is None or found.disabled_at is not None or found.updated_at >= at:
            await self._versions.set(key.tenant)
            return False
        await self._put(self._switched(found, disabled=True))
        return True

    async def aclose(self) -> None:
        """Nothing to close."""

    def _switched(self, found: Destination, *, disabled: bool) -> Destination:
        now = self._clock()
        off = now if disabled else None
        return msgspec.structs.replace(found, disabled_at=off, updated_at=now, version=new_id())

    async def _put(self, destination: Destination) -> Destination:
        self._destinations[destination.key] = _encode(destination)
        await self._versions.set(destination.tenant)
        return destination


def _made(key: DestinationKey, fields: DestinationFields, times: Times) -> Destination:
    return Destination(
        tenant=key.tenant,
        id=key.destination,
        version=new_id(),
        created_at=times.created_at,
        updated_at=times.updated_at,
        **msgspec.structs.asdict(fields),
    )
