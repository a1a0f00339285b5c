"""Tenants: made, or given other metadata, by `PUT`."""

import logging
from typing import Annotated, ClassVar

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import (
    Success,
    TenantAnswer,
    documented,
    json_response,
    tenant_answer,
)
from event_router.router.api.auth import tenant_of
from event_router.router.api.errors import Refusal, not_found
from event_router.router.api.queries import (
    IdPath,
    PageInfo,
    PageQuery,
    Texts,
    asked,
    bad_cursor,
    parameters,
)
from event_router.router.api.services import Services
from event_router.router.hops.operator_events import unreserved
from event_router.router.store.paging import Page
from event_router.schemas.destination import Destination, Tenant
from event_router.schemas.errors import InvalidValue

PURGED_AT_ONCE = 500
log = logging.getLogger(__name__)


class TenantBody(BaseModel):
    """What a tenant may be given. Its metadata is replaced as a whole."""

    model_config = ConfigDict(extra="forbid")

    metadata: dict[str, str] | None = None


class TenantsQuery(PageQuery):
    """Tenants, of these ids only if some are given."""

    most: ClassVar[int] = 100

    id: Texts = ()
    limit: int = Field(20, json_schema_extra={"minimum": 1, "maximum": most})


class TenantsAnswer(msgspec.Struct):
    """A page of tenants."""

    models: list[TenantAnswer]
    pagination: PageInfo
    count: int


class Tenants:
    """Tenants, of which only the id and the metadata are people's."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def upsert(self, tenant_id: IdPath, body: TenantBody | None = None) -> Response:
        """201 when it is new, 200 when it was there."""
        unreserved("tenant_id", tenant_id)
        metadata = body.metadata if body else None
        tenant, created = await self._services.registry.upsert_tenant(tenant_id, metadata)
        return await self._answer(tenant, 201 if created else 200)

    async def get(self, tenant_id: IdPath) -> Response:
        return await self._answer(await existing_tenant(self._services, tenant_id))

    async def search(self, request: Request) -> Response:
        """The newest first, unless `dir` says otherwise; `count` is that of all tenants."""
        query = asked(request, TenantsQuery)
        caller = tenant_of(request)
        if caller is not None:
            return await self._only(caller, query)
        registry = self._services.registry
        try:
            page = await registry.tenants(query.id, query.paging())
        except InvalidValue as error:
            raise bad_cursor(error) from None
        return await self._page(query, page, await registry.count_tenants())

    async def _only(self, caller: str, query: TenantsQuery) -> Response:
        """What a tenant sees of all tenants."""
        itself = await existing_tenant(self._services, caller)
        query.paging()
        return await self._page(
            query, Page([] if query.id and caller not in query.id else [itself]), 1
        )

    async def _page(self, query: TenantsQuery, page: Page[Tenant], count: int) -> Response:
        by_tenant = await self._destinations_of([tenant.id for tenant in page.models])
        models = [tenant_answer(tenant, by_tenant[tenant.id]) for tenant in page.models]
        info = PageInfo("created_at", query.dir, query.limit, page.next, page.prev)
        return json_response(TenantsAnswer(models, info, count))

    async def delete(
        self, request: Request, tenant_id: IdPath, purge: Annotated[bool, Query()] = False
    ) -> Response:
        """Its destinations go with it; what waits for them is given up, visibly.

        With `purge`, which is the administrator's, all that the log has of it goes, too: events,
        deliveries, attempts and the dead. That may be said again, of a tenant that is gone: for
        what was still under way and is logged later, or after a 503.
        """
        if purge and tenant_of(request) is not None:
            raise Refusal(403, "only the administrator purges")
        deleted = await self._services.registry.delete_tenant(tenant_id)
        # When there is none, too: the request may repeat one that was done and left untold.
        await self._services.subscriptions.tell(tenant_id)
        purged = await self._purge(tenant_id) if purge else 0
        if not deleted and not purged:
            raise not_found("tenant")
        return json_response(Success())

    async def _purge(self, tenant: str) -> int:
        """How many rows went, each batch a transaction of its own."""
        purged = 0
        while gone := await self._services.log.purge(tenant, PURGED_AT_ONCE):
            purged += gone
        log.info("tenant.purged", extra={"tenant": tenant, "rows": purged})
        return purged

    async def _destinations_of(self, tenants: list[str]) -> dict[str, list[Destination]]:
        found = await self._services.registry.destinations(tenants) if tenants else []
        by_tenant: dict[str, list[Destination]] = {tenant: [] for tenant in tenants}
        for destination in found:
            by_tenant[destination.tenant].append(destination)
        return by_tenant

    async def _answer(self, tenant: Tenant, status: int = 200) -> Response:
        destinations = await self._services.registry.destinations((tenant.id,))
        return json_response(tenant_answer(tenant, destinations), status)


def tenant_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/tenants", tags=["tenants"])
    do = Tenants(services)
    page = documented(200, TenantsAnswer, 400)
    routes.get("", responses=page, openapi_extra=parameters(TenantsQuery))(do.search)
    new_or_not = documented(201, TenantAnswer, 413) | documented(200, TenantAnswer)
    routes.put("/{tenant_id}", status_code=201, responses=new_or_not)(do.upsert)
    routes.get("/{tenant_id}", responses=documented(200, TenantAnswer, 404))(do.get)
    routes.delete("/{tenant_id}", responses=documented(200, Success, 404))(do.delete)
    return routes


async def existing_tenant(services: Services, tenant_id: str) -> Tenant:
    """The tenant; raises Refusal 404."""
    tenant = await services.registry.tenant(tenant_id)
    if tenant is None:
        raise not_found("tenant")
    return tenant
