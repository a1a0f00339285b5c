"""What the router needs from its two databases. Each port has one contract suite.

Implementations raise Unavailable when the database is in trouble.
"""

from collections.abc import Collection
from typing import Any, NamedTuple, Protocol

import msgspec

from event_router.router.store.paging import Page, Paging
from event_router.router.store.schema_ports import Schemas
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination, RetryOverride, Tenant
from event_router.schemas.errors import EventRouterError


class AlreadyExists(EventRouterError):
    """The tenant has a destination of that id."""


class NoSuchTenant(EventRouterError):
    """There is no tenant of that id."""


class DestinationFields(msgspec.Struct, frozen=True):
    """All of a destination that people set; the registry adds the rest."""

    type: str
    topics: tuple[str, ...]
    config: dict[str, Any]
    credentials: dict[str, Any]
    filter: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    delivery_metadata: dict[str, str] | None = None
    disabled_at: int | None = None
    retry: RetryOverride | None = None
    rate_limit: float | None = None

    def __repr__(self) -> str:
        """For logs and traces: nothing that may be secret."""
        return f"DestinationFields({self.type}, topics={self.topics})"


class Times(NamedTuple):
    """When a destination was made and last written (ms), for one that comes from elsewhere."""

    created_at: int
    updated_at: int


class Upserted(NamedTuple):
    tenant: Tenant
    created: bool


TenantPosition = tuple[int, str]


def tenant_position(tenant: Tenant) -> TenantPosition:
    """Where it stands in the list of tenants."""
    return tenant.created_at, tenant.id


class Registry(Protocol):
    """Tenants, their destinations and their event schemas: the system of record.

    Every write that changed something has set a new version token of the tenant on return, after
    it was committed. One that raises Unavailable may have been committed all the same.
    """

    @property
    def schemas(self) -> Schemas: ...

    async def upsert_tenant(self, tenant: str, metadata: dict[str, str] | None) -> Upserted:
        """The metadata is replaced."""
        ...

    async def tenant(self, tenant: str) -> Tenant | None: ...

    async def tenants(self, ids: Collection[str], paging: Paging) -> Page[Tenant]:
        """By the time of creation; of `ids` only, unless that is empty."""
        ...

    async def count_tenants(self) -> int: ...

    async def delete_tenant(self, tenant: str) -> bool:
        """Its destinations, schemas and jobs go with it. False when there was none."""
        ...

    async def create(
        self, key: DestinationKey, fields: DestinationFields, times: Times | None = None
    ) -> Destination:
        """Made now, unless `times` say otherwise. Raises AlreadyExists, NoSuchTenant."""
        ...

    async def replace(
        self, key: DestinationKey, fields: DestinationFields, version: str | None = None
    ) -> Destination | None:
        """All fields anew; None when there is no such destination, or none of that version."""
        ...

    async def destination(self, key: DestinationKey) -> Destination | None: ...

    async def destinations(self, tenants: Collection[str]) -> list[Destination]:
        """Those of all these tenants, the oldest first. One that can't be read is among them, and
        says so (`unreadable`)."""
        ...

    async def delete(self, key: DestinationKey) -> bool:
        """False when there was none."""
        ...

    async def set_disabled(self, key: DestinationKey, *, disabled: bool) -> Destination | None:
        """As it is then: one that is disabled already keeps its time. None when there is none."""
        ...

    async def disable_unless_changed_since(self, key: DestinationKey, at: int, reason: str) -> bool:
        """Disabled, unless it was written at `at` (ms) or after: then an attempt that began at
        `at` says nothing of it as it is now. True when it was disabled by this call. The token is
        set in any case: who repeats a call that raised finds nothing to change."""
        ...

    async def aclose(self) -> None: ...
