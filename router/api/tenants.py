"""Tenants: made, or given other metadata, by `PUT`."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from event_router.router.api.answers import TenantAnswer, documented, json_response, tenant_answer
from event_router.router.api.errors import not_found
from event_router.router.api.queries import IdPath
from event_router.router.api.services import Services
from event_router.schemas.destination import Tenant


class TenantBody(BaseModel):
    """What a tenant may be given. Its metadata is replaced as a whole."""

    model_config = ConfigDict(extra="forbid")

    metadata: dict[str, str] | None = None


class Tenants:
    """Tenants, of which only the id and the metadata are people's."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def upsert(self, tenant_id: IdPath, body: TenantBody | None = None) -> Response:
        """201 when it is new, 200 when it was there."""
        metadata = body.metadata if body else None
        tenant, created = await self._services.registry.upsert_tenant(tenant_id, metadata)
        return await self._answer(tenant, 201 if created else 200)

    async def get(self, tenant_id: IdPath) -> Response:
        return await self._answer(await existing_tenant(self._services, tenant_id))

    async def _answer(self, tenant: Tenant, status: int = 200) -> Response:
        destinations = await self._services.registry.destinations((tenant.id,))
        return json_response(tenant_answer(tenant, destinations), status)


def tenant_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/tenants/{tenant_id}", tags=["tenants"])
    do = Tenants(services)
    new_or_not = documented(201, TenantAnswer, 413) | documented(200, TenantAnswer)
    routes.put("", status_code=201, responses=new_or_not)(do.upsert)
    routes.get("", responses=documented(200, TenantAnswer, 404))(do.get)
    return routes


async def existing_tenant(services: Services, tenant_id: str) -> Tenant:
    """The tenant; raises Refusal 404."""
    tenant = await services.registry.tenant(tenant_id)
    if tenant is None:
        raise not_found("tenant")
    return tenant
