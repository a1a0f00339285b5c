"""What lists are asked with: fields that may be repeated, bounds of time, pages.

Arrays are written `f=a&f=b`, `f[]=a` or `f[0]=a`, bounds `time[gte]=…`.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_origin

import msgspec
from fastapi import Path
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from starlette.requests import Request

from event_router.router.api.errors import Refusal, invalid, validation_lines
from event_router.router.store.log_ports import TimeRange
from event_router.router.store.paging import Page, Paging
from event_router.schemas.errors import InvalidValue
from event_router.schemas.ids import ID_PATTERN

# What can be looked up: no database takes a NUL, and nothing that we store has one.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]{1,512}$")]
Texts = tuple[Text, ...]
TextPath = Annotated[str, Path(pattern=r"^[^\x00]{1,512}$")]
IdPath = Annotated[str, Path(pattern=f"^{ID_PATTERN}$")]

_INDEX = re.compile(r"(\w+)\[\d*\]")
_BOUND = re.compile(r"(\w+)\[([a-z_]+)\](?:\[\d*\])?")

Q = TypeVar("Q", bound=BaseModel)
T = TypeVar("T")


def _milliseconds(value: Any) -> Any:
    """RFC 3339 or YYYY-MM-DD (its first moment, in UTC) as ms since the epoch."""
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError("a time such as 2026-01-31T12:00:00Z, or a date") from None
    if len(value) == len("2026-01-31"):
        moment = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
    if moment.tzinfo is None:
        raise ValueError("a time with an offset, such as 2026-01-31T12:00:00Z")
    return round(moment.timestamp() * 1000)


_Written = Annotated[
    str,
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": name} for name in ("date-time", "date")]}
    ),
]
Moment = Annotated[int | None, BeforeValidator(_milliseconds, json_schema_input_type=_Written)]
GivenMoment = Annotated[int, BeforeValidator(_milliseconds, json_schema_input_type=_Written)]


class TimeBounds(BaseModel):
    """Times as RFC 3339, or YYYY-MM-DD."""

    model_config = ConfigDict(extra="forbid")

    gte: Moment = None
    gt: Moment = None
    lte: Moment = None
    lt: Moment = None

    def range(self) -> TimeRange:
        return TimeRange(self.gte, self.gt, self.lte, self.lt)


class PageQuery(BaseModel):
    """Which page of a list, in which order; a field that isn't known is a mistake."""

    model_config = ConfigDict(extra="forbid")

    most: ClassVar[int] = 1000

    limit: int = Field(100, json_schema_extra={"minimum": 1, "maximum": most})
    next: Text | None = None
    prev: Text | None = None
    dir: Literal["asc", "desc"] = "desc"

    def paging(self) -> Paging:
        """Raises Refusal 400 for a page that can't be."""
        if not 1 <= self.limit <= self.most:
            raise Refusal(400, f"limit: {self.limit} is not between 1 and {self.most}")
        if self.next is not None and self.prev is not None:
            raise Refusal(400, "next and prev can't both be given")
        return Paging(self.limit, self.dir == "desc", self.next, self.prev)


class ListQuery(PageQuery):
    """A page of what happened, by its time."""

    order_by: Literal["time"] = "time"
    time: TimeBounds = TimeBounds()


class PageInfo(msgspec.Struct):
    """The cursors of the pages around this one; null where there is none."""

    order_by: str
    dir: str
    limit: int
    next: str | None
    prev: str | None


def page_info(query: ListQuery, page: Page[Any]) -> PageInfo:
    return PageInfo(query.order_by, query.dir, query.limit, page.next, page.prev)


def bad_cursor(error: InvalidValue) -> Refusal:
    return Refusal(400, "bad cursor", [str(error)])


def asked(request: Request, query: type[Q]) -> Q:
    """The request's query string; raises Refusal 422 with a line for each mistake."""
    given = _gathered(request.query_params.multi_items(), query)
    try:
        return query.model_validate(given)
    except ValidationError as error:
        raise invalid(validation_lines(error.errors())) from None


def _gathered(items: Iterable[tuple[str, str]], query: type[BaseModel]) -> dict[str, Any]:
    """Empty values are as if they weren't there; of a single field the last one counts."""
    given: dict[str, Any] = {}
    for written, value in items:
        if not value:
            continue
        if bound := _BOUND.fullmatch(written):
            _put(given.setdefault(bound[1], {}), bound[2], value, _type_of(bound[1], query))
        else:
            index = _INDEX.fullmatch(written)
            _put(given, index[1] if index else written, value, query)
    return given


def _put(given: Any, name: str, value: str, query: Any) -> None:
    """As one of several, where `query` takes several. What isn't in order is for it to refuse."""
    if not isinstance(given, dict):
        return
    if get_origin(_type_of(name, query)) is tuple:
        given.setdefault(name, []).append(value)
    else:
        given[name] = value


def _type_of(name: str, query: Any) -> Any:
    known = getattr(query, "model_fields", {}).get(name)
    return None if known is None else known.annotation


def parameters(query: type[BaseModel]) -> dict[str, Any]:
    """The query's fields, for `openapi_extra`."""
    schema = query.model_json_schema(mode="validation")
    definitions = schema.get("$defs", {})
    required = schema.get("required", ())
    return {
        "parameters": [
            _parameter(name, _inlined(field, definitions), required=name in required)
            for name, field in schema["properties"].items()
        ]
    }


def _parameter(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    deep = schema.get("type") == "object"
    written = {"style": "deepObject", "explode": True} if deep else {}
    return {"name": name, "in": "query", "required": required, "schema": schema, **written}


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else schema
