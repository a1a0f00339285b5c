"""Events and attempts in numbers, over time and by what they have in common."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import documented, json_response
from event_router.router.api.auth import own
from event_router.router.api.errors import Refusal
from event_router.router.api.queries import GivenMoment, Texts, asked, parameters
from event_router.router.api.services import Services
from event_router.router.store.metrics import (
    DAY,
    MONDAY,
    SECOND,
    AttemptDimension,
    AttemptGroup,
    Buckets,
    EventDimension,
    EventGroup,
    MetricsQuery,
    filled,
    months,
)
from event_router.schemas.decode import rfc3339

ROW_LIMIT = 100_000
_MOST_MONTHS = 1_200
_LATEST = 200_000_000_000 * SECOND  # buckets of times near the year 10000 would end beyond it

_GRANULARITY = re.compile(r"([1-9]\d?)([smhdwM])")
_MOST = {"s": 60, "m": 60, "h": 24, "d": 31, "w": 4, "M": 12}
_WIDTH = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY, "w": 7 * DAY}

EventMeasure = Literal["count", "rate"]
AttemptMeasure = Literal[
    "count",
    "successful_count",
    "failed_count",
    "error_rate",
    "first_attempt_count",
    "retry_count",
    "manual_retry_count",
    "avg_attempt_number",
    "rate",
    "successful_rate",
    "failed_rate",
    "avg_latency",
    "p50_latency",
    "p95_latency",
    "p99_latency",
]
_PERCENTILES = {"p50_latency", "p95_latency", "p99_latency"}

D = TypeVar("D", bound=str)
M = TypeVar("M", bound=str)
G = TypeVar("G", EventGroup, AttemptGroup)

_NO_ATTEMPTS = AttemptGroup(None, (), 0, 0, 0, 0, 0, None, None)


def _granularity(text: str) -> str:
    read = _GRANULARITY.fullmatch(text)
    if read is None or int(read[1]) > _MOST[read[2]]:
        most = ", ".join(f"{number}{unit}" for unit, number in _MOST.items())
        raise ValueError(f"a number and a unit, such as 1h; at most {most}")
    return text


Granularity = Annotated[str, AfterValidator(_granularity)]


class Period(BaseModel):
    """Times as RFC 3339, or YYYY-MM-DD; from `start` on, before `end`."""

    model_config = ConfigDict(extra="forbid")

    start: GivenMoment
    end: GivenMoment


class Filters(BaseModel):
    """What matches one of each."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: Texts = ()
    destination_id: Texts = ()
    topic: Texts = ()


class AttemptFilters(Filters):
    """Attempts that match one of each."""

    destination_type: Texts = ()
    status: tuple[Literal["success", "failed"], ...] = ()
    code: Texts = ()
    manual: tuple[Literal["true", "false"], ...] = ()
    attempt_number: Texts = ()


class _Query(BaseModel, Generic[M, D]):
    model_config = ConfigDict(extra="forbid")

    time: Period
    measures: tuple[M, ...] = Field(min_length=1)
    granularity: Granularity | None = None
    dimensions: tuple[D, ...] = ()
    filters: Filters = Filters()

    def of(self, request: Request) -> MetricsQuery:
        """What to ask the log, of the caller's own. Raises Refusal."""
        if self.time.start >= self.time.end:
            raise Refusal(400, "time[start] is not before time[end]")
        if self.time.start < 0 or self.time.end > _LATEST:
            raise Refusal(400, f"time is not within 1970 and {rfc3339(_LATEST)}")
        given: dict[str, tuple[str, ...]] = self.filters.model_dump()
        tenants = own(request, given.get("tenant_id", ()))
        return MetricsQuery(
            start=self.time.start,
            end=self.time.end,
            buckets=self._buckets(),
            dimensions=tuple(dict.fromkeys(self.dimensions)),
            filters={**given, "tenant_id": tenants},
            percentiles=not _PERCENTILES.isdisjoint(self.measures),
            limit=ROW_LIMIT + 1,
        )

    def _buckets(self) -> Buckets | None:
        if self.granularity is None:
            return None
        number, unit = int(self.granularity[:-1]), self.granularity[-1]
        if unit != "M":
            return Buckets(_WIDTH[unit] * number, MONDAY if unit == "w" else 0)
        if (self.time.end - self.time.start) / (28 * DAY) > _MOST_MONTHS:
            raise Refusal(400, f"granularity: more than {_MOST_MONTHS} months")
        return months(number, self.time.start, self.time.end)


class EventMetricsQuery(_Query[EventMeasure, EventDimension]):
    """What to count events by."""


class AttemptMetricsQuery(_Query[AttemptMeasure, AttemptDimension]):
    """What to count attempts by."""

    filters: AttemptFilters = AttemptFilters()


class DataPoint(msgspec.Struct, omit_defaults=True):
    """The measures of what is in a bucket and has these values of the dimensions."""

    dimensions: dict[str, str]
    metrics: dict[str, float | None]
    time_bucket: str | None = None


class MetricsInfo(msgspec.Struct, omit_defaults=True):
    """How the answer came about; `truncated` when there were more rows than the limit."""

    query_time_ms: int
    row_count: int
    row_limit: int
    truncated: bool
    granularity: str | None = None


class MetricsAnswer(msgspec.Struct):
    """Data points by time, those of empty buckets too."""

    data: list[DataPoint]
    metadata: MetricsInfo


def event_measures(group: EventGroup, seconds: float) -> dict[str, float | None]:
    """Rates are per second; `seconds` is how long the bucket is."""
    return {"count": group.count, "rate": group.count / seconds}


def attempt_measures(group: AttemptGroup, seconds: float) -> dict[str, float | None]:
    """As `event_measures`; latencies are in ms, null when there are no attempts."""
    failed = group.count - group.successful
    return {
        "count": group.count,
        "successful_count": group.successful,
        "failed_count": failed,
        "error_rate": failed / group.count if group.count else 0.0,
        "first_attempt_count": group.first,
        "retry_count": group.retries,
        "manual_retry_count": group.manual,
        "avg_attempt_number": group.attempt_number or 0.0,
        "rate": group.count / seconds,
        "successful_rate": group.successful / seconds,
        "failed_rate": failed / seconds,
        "avg_latency": group.latency,
        "p50_latency": group.p50,
        "p95_latency": group.p95,
        "p99_latency": group.p99,
    }


class Metrics:
    """Numbers, from the log."""

    def __init__(self, services: Services) -> None:
        self._log = services.log

    async def events(self, request: Request) -> Response:
        """By `granularity` and `dimensions`; with `destination_id` an event counts once for each
        of its destinations."""
        query, began = _asked(request, EventMetricsQuery), time.perf_counter()
        of = query.of(request)
        found = await self._log.event_metrics(of)
        groups = filled(found, of, EventGroup(None, (), 0))
        return _answer(query, of, groups, event_measures, began)

    async def attempts(self, request: Request) -> Response:
        """By `granularity` and `dimensions`."""
        query, began = _asked(request, AttemptMetricsQuery), time.perf_counter()
        of = query.of(request)
        found = await self._log.attempt_metrics(of)
        groups = filled(found, of, _NO_ATTEMPTS)
        return _answer(query, of, groups, attempt_measures, began)


Q = TypeVar("Q", bound=BaseModel)


def _asked(request: Request, query: type[Q]) -> Q:
    """Here clients know 400 for what can't be asked."""
    try:
        return asked(request, query)
    except Refusal as refusal:
        raise Refusal(400, refusal.message, refusal.data) from None


def _answer(
    query: "_Query[Any, Any]",
    of: MetricsQuery,
    groups: Iterator[G],
    measured: Callable[[G, float], dict[str, float | None]],
    began: float,
) -> Response:
    points = [
        _point(of, group, query.measures, measured(group, _seconds(of, group.bucket)))
        for group in islice(groups, ROW_LIMIT)
    ]
    truncated = next(groups, None) is not None
    took = round((time.perf_counter() - began) * 1000)
    info = MetricsInfo(took, len(points), ROW_LIMIT, truncated, query.granularity)
    return json_response(MetricsAnswer(points, info))


def _point(
    of: MetricsQuery, group: G, wanted: Sequence[str], all_: dict[str, float | None]
) -> DataPoint:
    return DataPoint(
        dimensions=dict(zip(of.dimensions, group.dimensions, strict=True)),
        metrics={name: all_[name] for name in wanted},
        time_bucket=None if group.bucket is None else rfc3339(group.bucket),
    )


def _seconds(of: MetricsQuery, bucket: int | None) -> float:
    """How long the bucket is; without buckets, the whole time."""
    if bucket is None or of.buckets is None:
        return (of.end - of.start) / SECOND
    return of.buckets.seconds(bucket)


def metrics_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/metrics", tags=["metrics"])
    do = Metrics(services)
    answers = documented(200, MetricsAnswer, 400)
    of_events, of_attempts = parameters(EventMetricsQuery), parameters(AttemptMetricsQuery)
    routes.get("/events", responses=answers, openapi_extra=of_events)(do.events)
    routes.get("/attempts", responses=answers, openapi_extra=of_attempts)(do.attempts)
    return routes
