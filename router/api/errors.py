"""Errors as people's programs read them: always JSON, `{"status", "message", "data"?}`."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from event_router.schemas.errors import EventRouterError, InvalidValue, TooLarge, Unavailable

log = logging.getLogger(__name__)

VALIDATION = "validation error"
_RETRY_AFTER = 1


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """What every error answers. `data` holds the lines of a validation error, or particulars."""

    status: int
    message: str
    data: Any = None


class Refusal(EventRouterError):
    """The request is answered with this status instead of what it asked for."""

    def __init__(
        self,
        status: int,
        message: str,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.data = data
        self.headers = dict(headers or {})
        super().__init__(f"{status} {message}")


def not_found(what: str) -> Refusal:
    return Refusal(404, f"{what} not found")


def invalid(lines: Sequence[str]) -> Refusal:
    """A line names a field and what is wrong with it: `config.url is required`."""
    return Refusal(422, VALIDATION, list(lines))


def refused(refusal: Refusal) -> Response:
    body = ErrorBody(refusal.status, refusal.message, refusal.data)
    content = msgspec.json.encode(body)
    return Response(content, refusal.status, refusal.headers, "application/json")


def invalid_line(error: InvalidValue) -> str:
    return f"{error.field} is required" if error.value is None else str(error)


_MISSING = re.compile(r"missing required field `(.+)`")
_UNKNOWN = re.compile(r"contains unknown field `(.+)`")
_WRONG = re.compile(r"(.+) - at `\$\.?(.+)`")


def mistakes_of(error: msgspec.ValidationError) -> list[str]:
    """msgspec's one error in the words of the others."""
    said = str(error)
    if found := _MISSING.search(said):
        return [f"{found[1]} is required"]
    if found := _UNKNOWN.search(said):
        return [f"{found[1]} is not a known field"]
    if found := _WRONG.fullmatch(said):
        return [f"{found[2]}: {found[1]}"]
    return [f"body: {said}"]


def validation_lines(problems: Sequence[Mapping[str, Any]], within: str = "") -> list[str]:
    """Pydantic's errors as lines; `within` goes before each field."""
    return [_line(problem, within) for problem in problems]


def _line(problem: Mapping[str, Any], within: str) -> str:
    path = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))
    field = ".".join(filter(None, (within, path))) or "body"
    match problem["type"]:
        case "missing":
            return f"{field} is required"
        case "extra_forbidden":
            return f"{field} is not a known field"
        case "value_error":
            return f"{field}: {problem['ctx']['error']}"
        case _:
            return f"{field}: {problem['msg']}"


def refusal_of(error: EventRouterError) -> Refusal:
    """How trouble of ours is answered; raises it again when it is a mistake of ours."""
    match error:
        case Refusal():
            return error
        case InvalidValue():
            return invalid([invalid_line(error)])
        case TooLarge():
            return Refusal(413, "message too large", error.detail or None)
        case Unavailable():
            log.warning("request.unavailable", extra={"why": str(error)})
            headers = {"retry-after": f"{error.retry_after or _RETRY_AFTER:.0f}"}
            return Refusal(503, f"{error.code} unavailable", headers=headers)
        case _:
            raise error


async def _on_our_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, EventRouterError)  # noqa: S101  registered for no other
    return refused(refusal_of(error))


async def _on_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for no other
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return refused(Refusal(422, "invalid JSON"))
    return refused(invalid(validation_lines(problems)))


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for no other
    if error.status_code == 400:  # the framework's word for what isn't UTF-8, or nested too deep
        return refused(Refusal(422, "invalid JSON"))
    return refused(Refusal(error.status_code, error.detail.lower(), headers=error.headers))


async def on_mistake(request: Request, error: Exception) -> Response:
    """Logged with its trace by the server, which gets it after this answer."""
    log.error("request.failed", extra={"path": request.url.path, "error": repr(error)})
    return refused(Refusal(500, "internal server error"))


def answer_errors_as_json(app: FastAPI) -> None:
    app.add_exception_handler(EventRouterError, _on_our_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, on_mistake)
