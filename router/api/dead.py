"""The dead: what was given up, why, and sending it again."""

import base64

import msgspec
from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import documented, json_response
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
from event_router.router.hops.replay import Replay, Replayed
from event_router.router.store.log_ports import DeadFilter, LoggedDead, TimeRange
from event_router.router.store.paging import Paging
from event_router.schemas.attempt import Dead
from event_router.schemas.decode import rfc3339
from event_router.schemas.errors import InvalidValue

MOST = 1000


class DeadAnswer(msgspec.Struct, omit_defaults=True):
    """What was given up: a delivery, or a record that could not become one; then it has neither
    tenant, event nor destination. `place` names the record it was given up at."""

    place: str
    reason: str
    time: str
    tenant_id: str | None = None
    event_id: str | None = None
    destination_id: str | None = None
    replayed_at: str | None = None


class DeadListAnswer(msgspec.Struct):
    """A page of the dead."""

    models: list[DeadAnswer]
    pagination: PageInfo


class DeadRecordAnswer(msgspec.Struct):
    """One of the dead with all that replaying it takes; bytes in base64, null where Kafka has a
    null."""

    dead: DeadAnswer
    detail: str
    headers: list[tuple[str, str | None]]
    key_base64: str | None
    value_base64: str | None


class DeadQuery(ListQuery):
    """The dead that match one of each."""

    tenant_id: Texts = ()
    event_id: Texts = ()
    destination_id: Texts = ()
    reason: Texts = ()
    replayed: bool | None = None

    def filter(self) -> DeadFilter:
        return DeadFilter(
            tenants=self.tenant_id,
            events=self.event_id,
            destinations=self.destination_id,
            reasons=self.reason,
            time=self.time.range(),
            replayed=self.replayed,
        )


class OneDeadQuery(BaseModel):
    """Which one, where several deliveries of a record were given up at once."""

    model_config = ConfigDict(extra="forbid")

    destination_id: Text | None = None


class ReplayBody(BaseModel):
    """Those that match one of each are replayed, the oldest first; a field that says which is
    needed, or `all`. Whoever goes on until there are no `more` gives `before`, the same each time:
    what dies again would otherwise be replayed for ever."""

    model_config = ConfigDict(extra="forbid")

    place: Texts = ()
    tenant_id: Texts = ()
    event_id: Texts = ()
    destination_id: Texts = ()
    reason: Texts = ()
    all: bool = False
    before: AwareDatetime | None = None
    limit: int = Field(default=MOST, ge=1, le=MOST)

    def filter(self) -> DeadFilter:
        """Raises Refusal when nothing says which."""
        wanted = DeadFilter(
            tenants=self.tenant_id,
            events=self.event_id,
            destinations=self.destination_id,
            reasons=self.reason,
            places=self.place,
        )
        if wanted == DeadFilter() and not self.all:
            raise Refusal(400, "name what to replay: place, tenant_id, … or all")
        if self.before is None:
            return wanted
        before = TimeRange(lt=round(self.before.timestamp() * 1000))
        return msgspec.structs.replace(wanted, time=before)


class TheDead:
    """What was given up."""

    def __init__(self, services: Services) -> None:
        self._log = services.log
        self._replay = Replay(services.topics, services.log, services.producer, services.clock)

    async def search(self, request: Request) -> Response:
        """The newest first, unless `dir` says otherwise."""
        query = asked(request, DeadQuery)
        try:
            page = await self._log.dead(query.filter(), query.paging())
        except InvalidValue as error:
            raise bad_cursor(error) from None
        models = [_answer(one) for one in page.models]
        return json_response(DeadListAnswer(models, page_info(query, page)))

    async def get(self, request: Request, place: TextPath) -> Response:
        query = asked(request, OneDeadQuery)
        one = await self._one(place, query.destination_id)
        record = await self._log.dead_record(one.place, one.destination)
        if record is None:
            raise not_found("dead record")
        return json_response(_record_answer(one, record))

    async def replay(self, body: ReplayBody) -> Response:
        """Each enters again the hop that gave it up. What was replayed before is left out."""
        return json_response(await self._replay(body.filter(), body.limit), 202)

    async def _one(self, place: str, destination: str | None) -> LoggedDead:
        wanted = DeadFilter(
            places=(place,), destinations=() if destination is None else (destination,)
        )
        found = (await self._log.dead(wanted, Paging(2))).models
        if not found:
            raise not_found("dead record")
        if len(found) > 1:
            raise Refusal(400, "several deliveries were given up there: name destination_id")
        return found[0]


def _answer(one: LoggedDead) -> DeadAnswer:
    return DeadAnswer(
        place=one.place,
        reason=one.reason,
        time=rfc3339(one.at),
        tenant_id=one.tenant,
        event_id=one.event,
        destination_id=one.destination or None,
        replayed_at=None if one.replayed_at is None else rfc3339(one.replayed_at),
    )


def _record_answer(one: LoggedDead, record: Dead) -> DeadRecordAnswer:
    headers = [(name, _base64(value)) for name, value in record.head.headers]
    return DeadRecordAnswer(
        _answer(one), record.head.detail, headers, _base64(record.key), _base64(record.value)
    )


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def dead_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/dead", tags=["dead"])
    do = TheDead(services)
    page = documented(200, DeadListAnswer, 400)
    one = documented(200, DeadRecordAnswer, 400, 404)
    replayed = documented(202, Replayed, 400, 413)
    routes.get("", responses=page, openapi_extra=parameters(DeadQuery))(do.search)
    routes.post("/replay", status_code=202, responses=replayed)(do.replay)
    routes.get("/{place}", responses=one, openapi_extra=parameters(OneDeadQuery))(do.get)
    return routes
