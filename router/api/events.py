"""Events, as the log has them: those that match nothing too."""

import base64
from collections.abc import Iterable
from typing import Annotated

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import documented, json_response
from event_router.router.api.auth import own, own_one
from event_router.router.api.errors import Refusal, not_found
from event_router.router.api.queries import (
    ListQuery,
    PageInfo,
    Text,
    TextPath,
    Texts,
    asked,
    bad_cursor,
    page_info,
    parameters,
)
from event_router.router.api.services import Services
from event_router.router.store.log_ports import EventFilter, Log, LoggedEvent
from event_router.schemas.errors import InvalidValue

JsonObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]

UPDATES_SHOWN = 1_000

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class UpdateAnswer(msgspec.Struct):
    """A later change of an event: the fields that it sets."""

    id: str
    time: str
    data: JsonObject


class EventAnswer(msgspec.Struct, omit_defaults=True):
    """An event. `data` is byte for byte what was published, when that is a JSON object; anything
    else stands in `data_base64`.

    One that was changed later has its updates, the oldest first, in `updated_by`, and what they
    make of it in `merged`. An update names the event that it changes in `updates`;
    `updates_unknown` says that there is no such event.
    """

    id: str
    tenant_id: str
    matched_destination_ids: list[str]
    topic: str
    time: str
    eligible_for_retry: bool
    metadata: dict[str, str]
    data: JsonObject | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET
    updates: str | msgspec.UnsetType = msgspec.UNSET
    updates_unknown: bool | msgspec.UnsetType = msgspec.UNSET
    updated_by: list[UpdateAnswer] | msgspec.UnsetType = msgspec.UNSET
    merged: JsonObject | msgspec.UnsetType = msgspec.UNSET


class EventsAnswer(msgspec.Struct):
    """A page of events."""

    models: list[EventAnswer]
    pagination: PageInfo


class EventsQuery(ListQuery):
    """Events that match one of each."""

    id: Texts = ()
    tenant_id: Texts = ()
    destination_id: Texts = ()
    topic: Texts = ()

    def filter(self, tenants: tuple[str, ...]) -> EventFilter:
        return EventFilter(self.id, tenants, self.destination_id, self.topic, self.time.range())


class OneQuery(BaseModel):
    """Of which tenant."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: Text | None = None


def event_answer(event: LoggedEvent, *, with_data: bool = True) -> EventAnswer:
    answer = EventAnswer(
        id=event.id,
        tenant_id=event.tenant,
        matched_destination_ids=list(event.destinations),
        topic=event.topic,
        time=event.time,
        eligible_for_retry=event.retry,
        metadata=event.metadata,
        updates=event.updates or msgspec.UNSET,
    )
    if not with_data:
        return answer
    if _is_object(event.data):
        return msgspec.structs.replace(answer, data=msgspec.Raw(event.data))
    return msgspec.structs.replace(answer, data_base64=base64.b64encode(event.data).decode())


def _merged(data: bytes, updates: Iterable[bytes]) -> bytes:
    """The event's fields, each as the last update left it that has it."""
    fields = _object.decode(data)
    for update in updates:
        fields |= _object.decode(update)
    return msgspec.json.encode(fields)


def _is_object(data: bytes) -> bool:
    """Anybody may write to the topic: what isn't JSON would break the whole answer."""
    try:
        data.decode()
        _object.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


class Events:
    """What was accepted."""

    def __init__(self, services: Services) -> None:
        self._log = services.log

    async def search(self, request: Request) -> Response:
        """The newest first, unless `dir` says otherwise."""
        query = asked(request, EventsQuery)
        try:
            page = await self._log.events(
                query.filter(own(request, query.tenant_id)), query.paging()
            )
        except InvalidValue as error:
            raise bad_cursor(error) from None
        models = [event_answer(event) for event in page.models]
        return json_response(EventsAnswer(models, page_info(query, page)))

    async def get(self, request: Request, event_id: TextPath) -> Response:
        """The newest of that id: the tenant may have used it before, long ago."""
        query = asked(request, OneQuery)
        tenant = own_one(request, query.tenant_id)
        event = await existing_event(self._log, event_id, tenant)
        return json_response(await self._with_updates(event))

    async def _with_updates(self, event: LoggedEvent) -> EventAnswer:
        answer = event_answer(event)
        if event.updates is not None:
            original = await self._log.event(event.updates, event.tenant)
            return msgspec.structs.replace(answer, updates_unknown=original is None)
        found = await self._log.updates_of(event.id, event.tenant, UPDATES_SHOWN)
        updates = [one for one in found if _is_object(one.data)]
        if not updates or not _is_object(event.data):
            return answer
        return msgspec.structs.replace(
            answer,
            updated_by=[UpdateAnswer(one.id, one.time, msgspec.Raw(one.data)) for one in updates],
            merged=msgspec.Raw(_merged(event.data, [one.data for one in updates])),
        )


async def existing_event(log: Log, event: str, tenant: str | None) -> LoggedEvent:
    """The tenant's event. Raises Refusal 404; 409 when no tenant is named and several have it."""
    if tenant is None:
        tenants = await log.tenants_with(event)
        if len(tenants) > 1:
            message = "several tenants have an event of this id: name one in tenant_id"
            raise Refusal(409, message, {"tenants": tenants})
    found = await log.event(event, tenant)
    if found is None:
        raise not_found("event")
    return found


def event_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/events", tags=["events"])
    do = Events(services)
    page = documented(200, EventsAnswer, 400)
    one = documented(200, EventAnswer, 404, 409)
    routes.get("", responses=page, openapi_extra=parameters(EventsQuery))(do.search)
    routes.get("/{event_id}", responses=one, openapi_extra=parameters(OneQuery))(do.get)
    return routes
