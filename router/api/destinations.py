"""Destinations: where a tenant's events go. What people enter is checked here, by the sink."""

import logging
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import (
    DestinationAnswer,
    Success,
    destination_answer,
    documented,
    json_response,
    texts,
)
from event_router.router.api.errors import Refusal, not_found
from event_router.router.api.queries import IdPath, Texts, asked, parameters
from event_router.router.api.services import Services
from event_router.router.api.tenants import existing_tenant
from event_router.router.filters import checked_filter
from event_router.router.store.ports import AlreadyExists, DestinationFields, NoSuchTenant
from event_router.schemas.decode import ANY_TOPIC
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.errors import InvalidValue, Unavailable
from event_router.schemas.ids import checked_id, new_id

log = logging.getLogger(__name__)

MOST_PER_TENANT = 20
_CLOCK_SKEW = 60_000


class DestinationBody(BaseModel):
    """A destination to be made. `config` and `credentials` are its type's own."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    type: str
    topics: Literal["*"] | list[str] = Field(min_length=1)
    config: dict[str, Any]
    credentials: dict[str, Any] | None = None
    filter: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    delivery_metadata: dict[str, str] | None = None
    disabled_at: AwareDatetime | None = None

    @field_validator("topics")
    @classmethod
    def _named(cls, topics: str | list[str]) -> str | list[str]:
        if not all(topics):
            raise ValueError("a topic's name isn't empty")
        return topics


class DestinationsQuery(BaseModel):
    """Destinations of one of the types, and subscribed to all of the topics."""

    model_config = ConfigDict(extra="forbid")

    type: Texts = ()
    topics: Texts = ()

    def wants(self, one: Destination) -> bool:
        subscribed = ANY_TOPIC in one.topics or set(self.topics) <= set(one.topics)
        return subscribed and (not self.type or one.type in self.type)


def destination_fields(body: DestinationBody, services: Services) -> DestinationFields:
    """What is stored, valid and completed by the sink. Raises InvalidValue and Refusal."""
    checked = services.sinks.check(body.type, texts(body.config), texts(body.credentials or {}))
    return DestinationFields(
        type=body.type,
        topics=_checked_topics(body.topics, services.settings.topics),
        config=checked.config,
        credentials=checked.credentials,
        filter=checked_filter(body.filter) if body.filter else None,
        metadata=body.metadata,
        delivery_metadata=body.delivery_metadata,
        disabled_at=_past(body.disabled_at, services.clock()),
    )


def _checked_topics(topics: str | list[str], known: tuple[str, ...]) -> tuple[str, ...]:
    names = (topics,) if isinstance(topics, str) else tuple(dict.fromkeys(topics))
    unknown = [name for name in names if known and name not in known and name != ANY_TOPIC]
    if unknown:
        expected = f"{ANY_TOPIC} or among {', '.join(known)}"
        raise InvalidValue("topics", unknown[0], expected)
    return (ANY_TOPIC,) if ANY_TOPIC in names else names


def _past(at: AwareDatetime | None, now: int) -> int | None:
    if at is None:
        return None
    milliseconds = round(at.timestamp() * 1000)
    if milliseconds > now + _CLOCK_SKEW:
        raise InvalidValue("disabled_at", at.isoformat(), "a time that has come")
    return min(milliseconds, now)


class Destinations:
    """A tenant's destinations."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._registry = services.registry

    async def create(self, tenant_id: IdPath, body: DestinationBody) -> Response:
        """A webhook without a secret gets one, which is shown."""
        await existing_tenant(self._services, tenant_id)
        own_id = new_id() if body.id is None else checked_id("id", body.id)
        fields = destination_fields(body, self._services)
        if len(await self._registry.destinations((tenant_id,))) >= MOST_PER_TENANT:
            raise Refusal(400, f"a tenant has at most {MOST_PER_TENANT} destinations")
        try:
            made = await self._registry.create(DestinationKey(tenant_id, own_id), fields)
        except AlreadyExists:
            raise Refusal(400, "destination already exists") from None
        except NoSuchTenant:
            raise not_found("tenant") from None
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

    async def delete(self, tenant_id: IdPath, destination_id: IdPath) -> Response:
        """What waits for it is given up, visibly."""
        key = DestinationKey(tenant_id, destination_id)
        if not await self._registry.delete(key):
            await existing_tenant(self._services, tenant_id)
            raise not_found("destination")
        await self._wake(key)
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
