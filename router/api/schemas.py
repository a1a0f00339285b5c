"""Event schemas: what the events of a tenant's topic look like, and what was found against it."""

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from event_router.router.api.answers import Success, documented, json_response
from event_router.router.api.errors import not_found
from event_router.router.api.queries import IdPath, TextPath
from event_router.router.api.services import Services
from event_router.router.api.tenants import existing_tenant
from event_router.router.store.ports import NoSuchTenant
from event_router.router.store.schema_ports import KeptSchema
from event_router.schemas.columns import Column, EventSchema, read_schema
from event_router.schemas.decode import rfc3339
from event_router.schemas.ids import checked_text
from event_router.schemas.json_schema import schema_of_json_schema


class SchemaBody(BaseModel):
    """Columns, or a JSON Schema that says the same. A violation is recorded, or refuses the
    event; fields without a column are dropped."""

    model_config = ConfigDict(extra="forbid")

    columns: list[dict[str, Any]] | None = None
    json_schema: dict[str, Any] | None = None
    on_violation: str = "record"


class SchemaAnswer(msgspec.Struct):
    """The schema of a tenant's topic."""

    tenant_id: str
    topic: str
    columns: list[Column]
    on_violation: str
    created_at: str
    updated_at: str


class SchemasAnswer(msgspec.Struct):
    """All schemas of a tenant, by topic."""

    models: list[SchemaAnswer]


class ViolationAnswer(msgspec.Struct):
    """How often one thing (`missing`, `type`, `range`) was wrong with one field. `event_id` and
    `detail` are of the last one."""

    field: str
    kind: str
    count: int
    event_id: str
    detail: str
    first_at: str
    last_at: str


class ViolationsAnswer(msgspec.Struct):
    """What was found against a schema, the most frequent first."""

    models: list[ViolationAnswer]


class SchemaRoutes:
    """Schemas, in the registry."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._schemas = services.registry.schemas

    async def put(self, tenant_id: IdPath, topic: TextPath, body: SchemaBody) -> Response:
        """201 when there was none, 200 when it was replaced."""
        checked_text("topic", topic)
        try:
            kept, created = await self._schemas.put(tenant_id, topic, _schema_of(body))
        except NoSuchTenant:
            raise not_found("tenant") from None
        self._services.known_schemas.forget(tenant_id)
        return json_response(schema_answer(kept), 201 if created else 200)

    async def get(self, tenant_id: IdPath, topic: TextPath) -> Response:
        return json_response(schema_answer(await self._existing(tenant_id, topic)))

    async def all_of(self, tenant_id: IdPath) -> Response:
        await existing_tenant(self._services, tenant_id)
        found = await self._schemas.all_of(tenant_id)
        return json_response(SchemasAnswer([schema_answer(kept) for kept in found]))

    async def delete(self, tenant_id: IdPath, topic: TextPath) -> Response:
        """What was found against it goes with it."""
        if not await self._schemas.delete(tenant_id, topic):
            raise not_found("schema")
        self._services.known_schemas.forget(tenant_id)
        return json_response(Success())

    async def violations(self, tenant_id: IdPath, topic: TextPath) -> Response:
        await self._existing(tenant_id, topic)
        await self._services.known_schemas.flush()
        found = await self._schemas.violations(tenant_id, topic)
        models = [
            ViolationAnswer(
                one.field,
                one.kind,
                one.count,
                one.event,
                one.detail,
                rfc3339(one.first_at),
                rfc3339(one.last_at),
            )
            for one in found
        ]
        return json_response(ViolationsAnswer(models))

    async def _existing(self, tenant: str, topic: str) -> KeptSchema:
        kept = await self._schemas.get(tenant, topic)
        if kept is None:
            raise not_found("schema")
        return kept


def _schema_of(body: SchemaBody) -> EventSchema:
    """Raises InvalidValue, naming what is wrong."""
    given = body.model_dump(exclude_unset=True)
    document = given.pop("json_schema", None)
    if document is None:
        return read_schema(msgspec.json.encode(given))
    described = schema_of_json_schema(document)
    columns = {"columns": described.columns, **given}
    return read_schema(msgspec.json.encode(columns))


def schema_answer(kept: KeptSchema) -> SchemaAnswer:
    return SchemaAnswer(
        kept.tenant,
        kept.topic,
        list(kept.schema.columns),
        kept.schema.on_violation,
        rfc3339(kept.created_at),
        rfc3339(kept.updated_at),
    )


def schema_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/tenants/{tenant_id}/schemas", tags=["schemas"])
    do = SchemaRoutes(services)
    new_or_not = documented(201, SchemaAnswer, 404, 413) | documented(200, SchemaAnswer)
    one = documented(200, SchemaAnswer, 404)
    found = documented(200, ViolationsAnswer, 404)
    routes.get("", responses=documented(200, SchemasAnswer, 404))(do.all_of)
    routes.put("/{topic}", status_code=201, responses=new_or_not)(do.put)
    routes.get("/{topic}", responses=one)(do.get)
    routes.delete("/{topic}", responses=documented(200, Success, 404))(do.delete)
    routes.get("/{topic}/violations", responses=found)(do.violations)
    return routes
