"""Answers and errors in the shape of Fiddler's API, version 2: always JSON."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.errors import Refusal, refusal_of
from event_router.router.batch.uploads import NoRoom, NoSuchUpload, UploadTooLarge
from event_router.router.hops.publish import IdConflict, OutcomeUnknown
from event_router.schemas.errors import EventRouterError, InvalidValue

_encode = msgspec.json.Encoder().encode
_JSON = "application/json"
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "Conflict",
    413: "PayloadTooLarge",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}


def answered(data: Any, status: int = 200) -> Response:
    body = {"data": data, "api_version": "2.0", "kind": "NORMAL"}
    return Response(_encode(body), status, media_type=_JSON)


def answered_once(result: Any) -> Response:
    """In the envelope of version 1, which asks for one thing only."""
    return Response(_encode({"status": "SUCCESS", "result": result}), media_type=_JSON)


def refused(refusal: Refusal) -> Response:
    """What the client shows is `message`; what is known of the single mistakes is said in it."""
    status = 400 if refusal.status == 422 else refusal.status
    reason = _REASONS.get(status, "InternalServerError")
    lines = refusal.data if isinstance(refusal.data, list) else []
    message = "; ".join(map(str, lines)) if refusal.status == 422 and lines else refusal.message
    errors = [{"reason": reason, "message": message, "help": ""}]
    body = {
        "error": {"code": status, "message": message, "errors": errors},
        "api_version": "2.0",
        "kind": "ERROR",
    }
    return Response(_encode(body), status, refusal.headers, _JSON)


def no_such_project(project: str) -> Refusal:
    """A project is a tenant, which nothing of this API makes."""
    how = f"an administrator makes it with PUT /api/v1/tenants/{project}"
    return Refusal(404, f"the project {project} was not found: {how}")


def refusal_in_v2(error: EventRouterError) -> Refusal:
    """Raises it again when it is a mistake of ours."""
    match error:
        case InvalidValue():
            return Refusal(400, str(error))
        case NoSuchUpload():
            return Refusal(404, str(error))
        case UploadTooLarge():
            return Refusal(413, str(error))
        case NoRoom():
            return Refusal(507, str(error))
        case IdConflict():
            return Refusal(409, f"{error}: to change an event, use update_event")
        case OutcomeUnknown():
            after = {"retry-after": "1"}
            message = f"outcome unknown: send it again with the event id {error.event_id}"
            return Refusal(503, message, headers=after)
        case _:
            return refusal_of(error)


async def on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, EventRouterError)  # noqa: S101  registered for no other
    return refused(refusal_in_v2(error))
