"""Destinations: where a tenant's events go. What people enter is checked here, by the sink."""

import logging

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import (
    DestinationAnswer,
    Success,
    destination_answer,
    documented,
    json_response,
)
from event_router.router.api.auth import tenant_of
from event_router.router.api.destination_bodies import (
    DestinationBody,
    DestinationPatch,
    new_fields,
    patched_fields,
    times_of,
)
from event_router.router.api.errors import Refusal, not_found, refusal_of
from event_router.router.api.queries import IdPath, Texts, asked, parameters
from event_router.router.api.services import Services
from event_router.router.api.tenants import existing_tenant
from event_router.router.store.ports import AlreadyExists, NoSuchTenant
from event_router.schemas.decode import ANY_TOPIC
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Unavailable
from event_router.schemas.ids import checked_id, new_id

log = logging.getLogger(__name__)

_TRIES = 10


class DestinationsQuery(BaseModel):
    """Destinations of one of the types, and subscribed to all of the topics."""

    model_config = ConfigDict(extra="forbid")

    type: Texts = ()
    topics: Texts = ()

    def wants(self, one: Destination) -> bool:
        subscribed = ANY_TOPIC in one.topics or set(self.topics) <= set(one.topics)
        return subscribed and (not self.type or one.type in self.type)


class Destinations:
    """A tenant's destinations."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._registry = services.registry

    async def create(self, request: Request, tenant_id: IdPath, body: DestinationBody) -> Response:
        """A webhook without a secret gets one, which is shown."""
        admin = tenant_of(request) is None
        if not admin and (body.created_at or body.updated_at):
            raise Refusal(403, "created_at and updated_at are the administrator's to set")
        await existing_tenant(self._services, tenant_id)
        own_id = new_id() if body.id is None else checked_id("id", body.id)
        fields = new_fields(body, self._services, admin=admin)
        times = times_of(body, self._services.clock())
        key = DestinationKey(tenant_id, own_id)
        await self._require_room(key)
        try:
            made = await self._registry.create(key, fields, times)
        except AlreadyExists:
            await self._tell(key)
            raise Refusal(400, "destination already exists") from None
        except NoSuchTenant:
            raise not_found("tenant") from None
        await self._tell(key)
        return self._answer(made, 201)

    async def list(self, request: Request, tenant_id: IdPath) -> Response:
        """All of the tenant's, the oldest first; of the types, and with all of the topics."""
        query = asked(request, DestinationsQuery)
        await existing_tenant(self._services, tenant_id)
        found = await self._registry.destinations((tenant_id,))
        return json_response([self._shown(one) for one in found if query.wants(one)])

    async def get(self, tenant_id: IdPath, destination_id: IdPath) -> Response:
        key = DestinationKey(tenant_id, destination_id)
        return self._answer(await existing_destination(self._services, key))

    async def update(
        self, request: Request, tenant_id: IdPath, destination_id: IdPath, body: DestinationPatch
    ) -> Response:
        """Holds at the next attempt, which is made at once if one waits."""
        key = DestinationKey(tenant_id, destination_id)
        changed = await self._updated(key, body, admin=tenant_of(request) is None)
        await self._wake(key)
        if body.gives("topics"):
            await self._tell(key)
        return self._answer(changed)

    async def _updated(
        self, key: DestinationKey, body: DestinationPatch, *, admin: bool
    ) -> Destination:
        """Another change meanwhile is kept: ours is made once more, on top of it."""
        for _ in range(_TRIES):
            before = await existing_destination(self._services, key)
            if before.unreadable:  # or what couldn't be read would be written as nothing
                raise Refusal(409, "its secrets can't be opened: the operator sees why")
            fields = patched_fields(before, body, self._services, admin=admin)
            after = await self._registry.replace(key, fields, before.version)
            if after is not None:
                return after
        raise Refusal(409, "others keep changing the destination: try again")

    async def _require_room(self, key: DestinationKey) -> None:
        most = self._services.settings.max_destinations_per_tenant
        if len(await self._registry.destinations((key.tenant,))) >= most:
            await self._tell(key)
            raise Refusal(400, f"a tenant has at most {most} destinations")

    async def delete(self, tenant_id: IdPath, destination_id: IdPath) -> Response:
        """What waits for it is given up, visibly."""
        key = DestinationKey(tenant_id, destination_id)
        deleted = await self._registry.delete(key)
        if deleted:
            await self._wake(key)
        await self._tell(key)
        if not deleted:
            await existing_tenant(self._services, tenant_id)
            raise not_found("destination")
        return json_response(Success())

    async def enable(self, tenant_id: IdPath, destination_id: IdPath) -> Response:
        """What waits for it is delivered from now on."""
        return await self._switch(DestinationKey(tenant_id, destination_id), disabled=False)

    async def disable(self, tenant_id: IdPath, destination_id: IdPath) -> Response:
        """New events don't match it; what waits for it goes on waiting."""
        return await self._switch(DestinationKey(tenant_id, destination_id), disabled=True)

    async def _switch(self, key: DestinationKey, *, disabled: bool) -> Response:
        changed = await self._registry.set_disabled(key, disabled=disabled)
        if changed is None:
            await existing_tenant(self._services, key.tenant)
            raise not_found("destination")
        await self._wake(key)
        return self._answer(changed)

    async def _tell(self, key: DestinationKey) -> None:
        """Before a refusal too: the request may repeat one that was done and left untold.

        Raises Refusal 503, which names the destination: its id may be one that we made.
        """
        try:
            await self._services.subscriptions.tell(key.tenant)
        except Unavailable as trouble:
            named = {"id": key.destination}
            refusal = refusal_of(trouble)
            raise Refusal(503, refusal.message, named, refusal.headers) from trouble

    async def _wake(self, key: DestinationKey) -> None:
        """What waits is looked at now. A lost wake costs a minute: every door has an end."""
        try:
            await self._services.schedule.door(key, 0)
        except Unavailable as trouble:
            log.warning(
                "destination.not_woken",
                extra={"tenant": key.tenant, "destination": key.destination, "why": str(trouble)},
            )

    def _answer(self, destination: Destination, status: int = 200) -> Response:
        return json_response(self._shown(destination), status)

    def _shown(self, destination: Destination) -> DestinationAnswer:
        shown = self._services.sinks.shown(destination)
        now = self._services.clock()
        return destination_answer(destination, shown.target, shown.target_url, now)


def destination_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/tenants/{tenant_id}/destinations", tags=["destinations"])
    do = Destinations(services)
    one = documented(200, DestinationAnswer, 404)
    made = documented(201, DestinationAnswer, 400, 404, 413)
    routes.post("", status_code=201, responses=made)(do.create)
    several = documented(200, list[DestinationAnswer], 404)
    routes.get("", responses=several, openapi_extra=parameters(DestinationsQuery))(do.list)
    routes.get("/{destination_id}", responses=one)(do.get)
    changed = documented(200, DestinationAnswer, 404, 409, 413)
    routes.patch("/{destination_id}", responses=changed)(do.update)
    routes.delete("/{destination_id}", responses=documented(200, Success, 404))(do.delete)
    routes.put("/{destination_id}/enable", responses=one)(do.enable)
    routes.put("/{destination_id}/disable", responses=one)(do.disable)
    return routes


async def existing_destination(services: Services, key: DestinationKey) -> Destination:
    """The destination; raises Refusal 404, which says when it is the tenant that isn't there."""
    found = await services.registry.destination(key)
    if found is None:
        await existing_tenant(services, key.tenant)
        raise not_found("destination")
    return found
