"""A tenant's page: its destinations, their state, and what the latest attempts were answered.

Plain HTML, made here, without a script; whoever has the token may look.
"""

import base64
import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from event_router.router.api.auth import Callers
from event_router.router.api.portal_page import STYLE, PortalRow, expired_page, portal_page
from event_router.router.api.services import Services
from event_router.router.store.log_ports import AttemptFilter
from event_router.router.store.paging import Paging

PATH = "/portal"
ATTEMPTS = 50

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors *",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Portal:
    """The page of the tenant whose token is shown."""

    def __init__(self, services: Services, callers: Callers) -> None:
        self._services = services
        self._callers = callers

    async def show(
        self,
        token: Annotated[str, Query()] = "",
        theme: Annotated[Literal["light", "dark", ""], Query()] = "",
    ) -> HTMLResponse:
        """The tenant's page, as HTML."""
        tenant = await self._callers.tenant(token)
        if tenant is None:
            return HTMLResponse(expired_page(theme), 401, _HEADERS)
        destinations = await self._services.registry.destinations((tenant,))
        latest = await self._services.log.attempts(
            AttemptFilter(tenants=(tenant,)), Paging(ATTEMPTS)
        )
        rows = [PortalRow(one, self._services.sinks.shown(one).target) for one in destinations]
        return HTMLResponse(portal_page(tenant, rows, latest.models, theme), 200, _HEADERS)


def portal_routes(services: Services, callers: Callers) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.get(PATH)(Portal(services, callers).show)
    return routes
