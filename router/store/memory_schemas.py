"""Event schemas in memory, for tests. They are stored as bytes, as a database would."""

from collections.abc import Callable, Container, Sequence

import msgspec

from event_router.router.store.ports import NoSuchTenant
from event_router.router.store.schema_ports import Found, KeptSchema
from event_router.schemas.columns import EventSchema

_schema = msgspec.json.Decoder(KeptSchema).decode
_found = msgspec.json.Decoder(Found).decode


class MemorySchemas:
    """Schemas that end with the process, of the tenants that are there."""

    def __init__(self, tenants: Container[str], clock: Callable[[], int]) -> None:
        self._tenants = tenants
        self._clock = clock
        self._schemas: dict[tuple[str, str], bytes] = {}
        self._found: dict[tuple[str, str, str, str], bytes] = {}

    async def put(self, tenant: str, topic: str, schema: EventSchema) -> tuple[KeptSchema, bool]:
        if tenant not in self._tenants:
            raise NoSuchTenant(tenant)
        before, now = await self.get(tenant, topic), self._clock()
        made_at = before.created_at if before else now
        kept = KeptSchema(tenant, topic, schema, made_at, now)
        self._schemas[tenant, topic] = msgspec.json.encode(kept)
        return kept, before is None

    async def get(self, tenant: str, topic: str) -> KeptSchema | None:
        stored = self._schemas.get((tenant, topic))
        return None if stored is None else _schema(stored)

    async def all_of(self, tenant: str) -> list[KeptSchema]:
        return [_schema(raw) for key, raw in sorted(self._schemas.items()) if key[0] == tenant]

    async def delete(self, tenant: str, topic: str) -> bool:
        self._forget(lambda key: key[:2] == (tenant, topic))
        return self._schemas.pop((tenant, topic), None) is not None

    async def record(self, tenant: str, topic: str, found: Sequence[Found]) -> None:
        if (tenant, topic) not in self._schemas:
            return
        for one in found:
            key = (tenant, topic, one.field, one.kind)
            before = _found(self._found[key]) if key in self._found else None
            if before is not None:
                count, first = one.count + before.count, before.first_at
                one = msgspec.structs.replace(one, count=count, first_at=first)
            self._found[key] = msgspec.json.encode(one)

    async def violations(self, tenant: str, topic: str) -> list[Found]:
        its = [_found(raw) for key, raw in self._found.items() if key[:2] == (tenant, topic)]
        return sorted(its, key=lambda one: (-one.count, one.field, one.kind))

    def forget_tenant(self, tenant: str) -> None:
        self._forget(lambda key: key[0] == tenant)
        for key in [key for key in self._schemas if key[0] == tenant]:
            del self._schemas[key]

    def _forget(self, gone: Callable[[tuple[str, str, str, str]], bool]) -> None:
        for key in [key for key in self._found if gone(key)]:
            del self._found[key]
