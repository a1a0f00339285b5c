"""What lets a tenant in: a token, and a link to its page."""

from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import documented, json_response
from event_router.router.api.errors import Refusal
from event_router.router.api.portal import PATH
from event_router.router.api.queries import IdPath
from event_router.router.api.services import Services
from event_router.router.api.tenants import existing_tenant
from event_router.router.api.tokens import TenantTokens

Theme = Literal["light", "dark"]


class TokenAnswer(msgspec.Struct):
    """A token with which the tenant calls this API, for a day."""

    token: str
    tenant_id: str


class PortalAnswer(msgspec.Struct):
    """A link to the tenant's page, good for a day for whoever has it."""

    redirect_url: str
    tenant_id: str


class TenantAccess:
    """Tokens and links. Only the administrator gets them."""

    def __init__(self, services: Services, tokens: TenantTokens) -> None:
        self._services = services
        self._tokens = tokens

    async def token(self, tenant_id: IdPath) -> Response:
        return json_response(TokenAnswer(await self._issued(tenant_id), tenant_id))

    async def portal(
        self,
        request: Request,
        tenant_id: IdPath,
        theme: Annotated[Theme | Literal[""] | None, Query()] = None,
    ) -> Response:
        query = {"token": await self._issued(tenant_id)} | ({"theme": theme} if theme else {})
        base = self._services.settings.public_url or str(request.base_url)
        url = f"{base.rstrip('/')}{PATH}?{urlencode(query)}"
        return json_response(PortalAnswer(url, tenant_id))

    async def _issued(self, tenant: str) -> str:
        if not self._tokens.exist:
            raise Refusal(501, "tenants' tokens need ROUTER_JWT_SECRET to be set")
        await existing_tenant(self._services, tenant)
        return self._tokens.issue(tenant)


def token_routes(services: Services, tokens: TenantTokens) -> APIRouter:
    routes = APIRouter(prefix="/tenants/{tenant_id}", tags=["tenants"])
    do = TenantAccess(services, tokens)
    routes.get("/token", responses=documented(200, TokenAnswer, 404, 501))(do.token)
    routes.get("/portal", responses=documented(200, PortalAnswer, 404, 501))(do.portal)
    return routes
