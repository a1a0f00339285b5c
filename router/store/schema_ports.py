"""Event schemas as they are stored, and what was found against them."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from event_router.schemas.columns import EventSchema


class KeptSchema(msgspec.Struct, frozen=True):
    """The schema of a tenant's topic. Times are in ms."""

    tenant: str
    topic: str
    schema: EventSchema
    created_at: int
    updated_at: int


class Found(msgspec.Struct, frozen=True):
    """How often one thing was wrong with one field, and of which event last (ms)."""

    field: str
    kind: str
    count: int
    event: str
    detail: str
    first_at: int
    last_at: int


class Schemas(Protocol):
    """One schema a tenant and topic, and what was found against it: a row a field and kind, so
    that it stays small whatever happens. They go with their tenant."""

    async def put(self, tenant: str, topic: str, schema: EventSchema) -> tuple[KeptSchema, bool]:
        """The schema as it is kept, and whether there was none. Raises NoSuchTenant."""
        ...

    async def get(self, tenant: str, topic: str) -> KeptSchema | None: ...

    async def all_of(self, tenant: str) -> list[KeptSchema]:
        """By topic."""
        ...

    async def delete(self, tenant: str, topic: str) -> bool:
        """What was found against it goes with it. False when there was none."""
        ...

    async def record(self, tenant: str, topic: str, found: Sequence[Found]) -> None:
        """Adds to what was found before; nothing for a topic without a schema."""
        ...

    async def violations(self, tenant: str, topic: str) -> list[Found]:
        """The most frequent first."""
        ...
