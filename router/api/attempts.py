"""Attempts: each try to deliver an event to a destination, and what it said."""

from typing import Literal

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import (
    DestinationAnswer,
    destination_answer,
    documented,
    json_response,
)
from event_router.router.api.auth import own, own_one
from event_router.router.api.destinations import existing_destination
from event_router.router.api.errors import not_found
from event_router.router.api.events import EventAnswer, OneQuery, event_answer
from event_router.router.api.queries import (
    IdPath,
    ListQuery,
    PageInfo,
    TextPath,
    Texts,
    asked,
    bad_cursor,
    page_info,
    parameters,
)
from event_router.router.api.services import Services
from event_router.router.store.log_ports import AttemptFilter, LoggedAttempt
from event_router.schemas.decode import rfc3339
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.errors import InvalidValue

Status = Literal["success", "failed"]
Include = Literal["event", "event.data", "response_data", "destination"]
Includes = tuple[Include, ...]


class ResponseData(msgspec.Struct):
    """What the destination answered; the body is cut to 16 kB."""

    status: int | None
    body: str


class AttemptAnswer(msgspec.Struct, omit_defaults=True):
    """One attempt. The last three are there when they are asked for with `include`."""

    id: str
    tenant_id: str
    event_id: str
    destination_id: str
    destination_type: str
    status: Status
    time: str
    code: str
    attempt_number: int
    manual: bool
    latency_ms: int
    response_data: ResponseData | msgspec.UnsetType = msgspec.UNSET
    event: EventAnswer | msgspec.UnsetType = msgspec.UNSET
    destination: DestinationAnswer | msgspec.UnsetType = msgspec.UNSET


class AttemptsAnswer(msgspec.Struct):
    """A page of attempts."""

    models: list[AttemptAnswer]
    pagination: PageInfo


class IncludeQuery(BaseModel):
    """What else to show."""

    model_config = ConfigDict(extra="forbid")

    include: Includes = ()


class OneAttemptQuery(OneQuery, IncludeQuery):
    """Of which tenant, and what else to show."""


class DestinationAttemptsQuery(ListQuery):
    """Attempts of one destination that match one of each."""

    event_id: Texts = ()
    topic: Texts = ()
    status: Status | None = None
    include: Includes = ()

    def of(self, key: DestinationKey) -> AttemptFilter:
        return AttemptFilter(
            tenants=(key.tenant,),
            events=self.event_id,
            destinations=(key.destination,),
            topics=self.topic,
            status=self.status,
            time=self.time.range(),
        )


class AttemptsQuery(DestinationAttemptsQuery):
    """Attempts that match one of each."""

    tenant_id: Texts = ()
    destination_id: Texts = ()
    destination_type: Texts = ()

    def filter(self, tenants: tuple[str, ...]) -> AttemptFilter:
        return AttemptFilter(
            tenants=tenants,
            events=self.event_id,
            destinations=self.destination_id,
            destination_types=self.destination_type,
            topics=self.topic,
            status=self.status,
            time=self.time.range(),
        )


class Attempts:
    """What was tried."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._log = services.log

    async def search(self, request: Request) -> Response:
        """The newest first, unless `dir` says otherwise."""
        query = asked(request, AttemptsQuery)
        return await self._page(query, query.filter(own(request, query.tenant_id)))

    async def search_of(
        self, request: Request, tenant_id: IdPath, destination_id: IdPath
    ) -> Response:
        """The destination's, the newest first, unless `dir` says otherwise."""
        query = asked(request, DestinationAttemptsQuery)
        key = DestinationKey(tenant_id, destination_id)
        await existing_destination(self._services, key)
        return await self._page(query, query.of(key))

    async def _page(self, query: DestinationAttemptsQuery, wanted: AttemptFilter) -> Response:
        events = _with_events(query.include)
        try:
            page = await self._log.attempts(wanted, query.paging(), with_events=events)
        except InvalidValue as error:
            raise bad_cursor(error) from None
        models = await self._answers(page.models, query.include)
        return json_response(AttemptsAnswer(models, page_info(query, page)))

    async def get(self, request: Request, attempt_id: TextPath) -> Response:
        query = asked(request, OneAttemptQuery)
        tenant = own_one(request, query.tenant_id)
        return await self._one(attempt_id, tenant, None, query.include)

    async def get_of(
        self, request: Request, tenant_id: IdPath, destination_id: IdPath, attempt_id: TextPath
    ) -> Response:
        query = asked(request, IncludeQuery)
        await existing_destination(self._services, DestinationKey(tenant_id, destination_id))
        return await self._one(attempt_id, tenant_id, destination_id, query.include)

    async def _one(
        self, attempt: str, tenant: str | None, destination: str | None, include: Includes
    ) -> Response:
        found = await self._log.attempt(attempt, tenant, with_event=_with_events(include))
        if found is None or destination not in {None, found.destination}:
            raise not_found("attempt")
        (answer,) = await self._answers([found], include)
        return json_response(answer)

    async def _answers(
        self, attempts: list[LoggedAttempt], include: Includes
    ) -> list[AttemptAnswer]:
        destinations = await self._destinations(attempts) if "destination" in include else {}
        return [
            self._answer(
                one, include, destinations.get(DestinationKey(one.tenant, one.destination))
            )
            for one in attempts
        ]

    async def _destinations(
        self, attempts: list[LoggedAttempt]
    ) -> dict[DestinationKey, Destination]:
        """Those that are still there, as they are now."""
        tenants = {attempt.tenant for attempt in attempts}
        found = await self._services.registry.destinations(tenants) if tenants else []
        return {destination.key: destination for destination in found}

    def _answer(
        self, attempt: LoggedAttempt, include: Includes, destination: Destination | None
    ) -> AttemptAnswer:
        answer = attempt_answer(attempt)
        if "response_data" in include:
            answer.response_data = ResponseData(attempt.status, attempt.body)
        if attempt.event is not None:
            answer.event = event_answer(attempt.event, with_data="event.data" in include)
        if destination is not None:
            answer.destination = self._shown(destination)
        return answer

    def _shown(self, destination: Destination) -> DestinationAnswer:
        """Without credentials: who may see attempts need not see those."""
        shown = self._services.sinks.shown(destination)
        bare = msgspec.structs.replace(destination, credentials={})
        return destination_answer(bare, shown.target, shown.target_url, self._services.clock())


def attempt_answer(attempt: LoggedAttempt) -> AttemptAnswer:
    return AttemptAnswer(
        id=attempt.id,
        tenant_id=attempt.tenant,
        event_id=attempt.event_id,
        destination_id=attempt.destination,
        destination_type=attempt.destination_type,
        status="success" if attempt.outcome == "delivered" else "failed",
        time=rfc3339(attempt.started),
        code=attempt.code,
        attempt_number=attempt.attempt,
        manual=attempt.manual,
        latency_ms=round(attempt.latency),
    )


def _with_events(include: Includes) -> bool:
    return "event" in include or "event.data" in include


def attempt_routes(services: Services) -> APIRouter:
    routes = APIRouter(tags=["attempts"])
    do = Attempts(services)
    page = documented(200, AttemptsAnswer, 400)
    one = documented(200, AttemptAnswer, 404)
    of = "/tenants/{tenant_id}/destinations/{destination_id}/attempts"
    for path, answers, query, endpoint in (
        ("/attempts", page, AttemptsQuery, do.search),
        ("/attempts/{attempt_id}", one, OneAttemptQuery, do.get),
        (of, documented(200, AttemptsAnswer, 400, 404), DestinationAttemptsQuery, do.search_of),
        (f"{of}/{{attempt_id}}", one, IncludeQuery, do.get_of),
    ):
        routes.get(path, responses=answers, openapi_extra=parameters(query))(endpoint)
    return routes
