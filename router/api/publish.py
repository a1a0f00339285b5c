"""`POST /publish`: the hot path. It stands beside the framework, as plain ASGI.

FastAPI's dependencies and pydantic cost more than all that happens here.
"""

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from event_router.router.api.answers import JSON, REF, documented
from event_router.router.api.auth import Callers, let_in
from event_router.router.api.bodies import BodyReader
from event_router.router.api.errors import (
    Refusal,
    invalid,
    mistakes_of,
    on_mistake,
    refusal_of,
    refused,
)
from event_router.router.api.rate_limits import TenantRates
from event_router.router.api.services import Services
from event_router.router.hops.publish import (
    KEY,
    IdConflict,
    InvalidTopic,
    OutcomeUnknown,
    PublishBody,
    Published,
    new_event,
)
from event_router.schemas.cloudevents import NewEvent
from event_router.schemas.errors import EventRouterError, InvalidValue, Unavailable

PATH = "/api/v1/publish"

_encode = msgspec.json.Encoder().encode
_RETRY_AFTER = 1
_KEY_HEADER = KEY.lower().encode()


class PublishEndpoint:
    """Answers 202 once Kafka has acknowledged the event, and never before."""

    def __init__(self, services: Services, callers: Callers, rates: TenantRates) -> None:
        self._callers = callers
        self._rates = rates
        self._publish = services.publish
        self._topics = services.settings.topics
        self._bodies = BodyReader(services.settings.max_event_bytes)
        self._clock = services.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except Exception as mistake:
            await (await on_mistake(Request(scope), mistake))(scope, receive, send)
            raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await let_in(self._callers, scope)
            key = _key_of(scope)
            body = await self._bodies.read(scope, receive)
            answer = _encode(await self._published(body, key))
        except EventRouterError as error:
            await refused(refusal_of(error))(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer)),
        ]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _published(self, body: bytes, key: str | None) -> Published:
        """Raises Refusal, and what of the hop's errors every route answers in the same way."""
        try:
            event = new_event(body, self._topics, self._clock(), key)
            self._rates.count(event.tenant)
            return await self._told_in_any_case(event)
        except msgspec.ValidationError as error:
            raise invalid(mistakes_of(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refusal(422, "invalid JSON") from None
        except InvalidTopic as error:
            raise invalid([_topic_line(error)]) from None
        except IdConflict as conflict:
            raise Refusal(409, str(conflict), {"id": conflict.event_id}) from None
        except OutcomeUnknown as unknown:
            headers = {"retry-after": f"{unknown.retry_after or _RETRY_AFTER:.0f}"}
            message = "outcome unknown: retry with this id"
            raise Refusal(503, message, {"id": unknown.event_id}, headers) from unknown

    async def _told_in_any_case(self, event: NewEvent) -> Published:
        """A server that stops cancels what takes it too long: who asked still gets an answer, and
        the id to ask again with."""
        try:
            return await self._publish(event)
        except asyncio.CancelledError:
            raise OutcomeUnknown(event.id, Unavailable("stopping", "the server stops")) from None


def _key_of(scope: Scope) -> str | None:
    """The id in the header; raises InvalidValue when it can't be one."""
    keys = [value for name, value in scope["headers"] if name == _KEY_HEADER]
    if not keys:
        return None
    if len(keys) > 1:
        raise InvalidValue(KEY, b", ".join(keys).decode("latin-1"), "given once")
    try:
        return str(keys[0], "utf-8")
    except UnicodeDecodeError:
        raise InvalidValue(KEY, keys[0], "UTF-8") from None


def _topic_line(error: InvalidTopic) -> str:
    if error.value is None:
        return "topic is required"
    return f"topic is invalid: {error.value!r} is not {error.expected}"


def publish_operation() -> dict[str, Any]:
    """What FastAPI would have written into the OpenAPI document, had it known of the route."""
    (body,), _ = msgspec.json.schema_components([PublishBody], ref_template=REF)
    return {
        "tags": ["publish"],
        "summary": "Publish",
        "operationId": "publish",
        "parameters": [
            {
                "name": KEY,
                "in": "header",
                "description": "The event's id, taken as it is, when the body has none; with an "
                "`id` in the body it has to be the same.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
            }
        ],
        "description": "The event is durably in Kafka when this answers 202. `data` is delivered "
        "byte for byte. A second publish with an id that is known is a duplicate, and conflicts "
        "when its content differs.",
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": {
            str(code): answer for code, answer in documented(202, Published, 408, 409, 413).items()
        },
    }
