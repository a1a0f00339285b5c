"""What a call of the client raises, beside InvalidValue.

EventRouterError
├── InvalidValue
│   └── BadArgument          an argument can't be right: nothing was sent (a ValueError, too)
├── Unavailable
│   └── NoAnswer             the router couldn't be reached, or said nothing in time
├── APIError                 the router answered, and refused
│   ├── NotFoundError        404, 501, 505
│   ├── UnauthorizedError    401, 403, 407, 511
│   ├── TimeoutErrorT        408, 504
│   ├── RateLimitedError     429
│   ├── BadRequestError      413, 414, 415, 422, 431, 510
│   └── InternalServerError  500, 502, 503, 506, 507, 508
├── JobFailed                the batch was refused as a whole: nothing of it was published
└── JobNotDone               the job goes on, and it was waited for no longer
"""

from collections.abc import Iterator, Mapping
from typing import Any

from event_router.client.bodies import Job
from event_router.schemas.errors import EventRouterError, InvalidValue, Unavailable

_ROWS_SHOWN = 5


class BadArgument(InvalidValue, ValueError):
    """An argument that can't be right; nothing was sent."""


class NoAnswer(Unavailable):
    """No answer came. Whether the request arrived is unknown; a retry can't double an event."""


class APIError(EventRouterError):
    """The router refused. `message` and `data` are what it said, `body` is all of it."""

    def __init__(
        self, status_code: int, message: str, data: Any, headers: Mapping[str, str], body: bytes
    ) -> None:
        self.status_code = status_code
        self.message = message
        self.data = data
        self.headers = headers
        self.body = body
        super().__init__(f"{status_code} {message}" + (f": {data}" if data else ""))


class NotFoundError(APIError):
    """404, 501, 505: there is no such thing, or no such call."""


class UnauthorizedError(APIError):
    """401, 403, 407, 511: the key is missing, wrong, or doesn't open this."""


class TimeoutErrorT(APIError):
    """408, 504: somebody on the way waited too long."""


class RateLimitedError(APIError):
    """429: too many requests; `Retry-After` was honoured until retries were spent."""


class BadRequestError(APIError):
    """413, 414, 415, 422, 431, 510: the request can't be right."""


class InternalServerError(APIError):
    """500, 502, 503, 506, 507, 508: the router, or what it stands on, is in trouble."""


_CLASSES: dict[type[APIError], tuple[int, ...]] = {
    NotFoundError: (404, 501, 505),
    UnauthorizedError: (401, 403, 407, 511),
    TimeoutErrorT: (408, 504),
    RateLimitedError: (429,),
    BadRequestError: (413, 414, 415, 422, 431, 510),
    InternalServerError: (500, 502, 503, 506, 507, 508),
}
_BY_STATUS = {status: kind for kind, statuses in _CLASSES.items() for status in statuses}


def class_for(status: int) -> type[APIError]:
    """The error class of a status that is no success."""
    return _BY_STATUS.get(status, APIError)


class JobFailed(EventRouterError):
    """The batch was refused as a whole, or cancelled; `job` is its last state. `str()` has the
    first refused rows, each with its reason."""

    def __init__(self, job: Job) -> None:
        self.job = job
        said = f"job {job.uuid} ended in {job.status}: {job.error or 'cancelled'}"
        super().__init__("\n".join([said, *_refused_rows(job)]))


def _refused_rows(job: Job) -> Iterator[str]:
    shown = job.errors[:_ROWS_SHOWN]
    for one in shown:
        yield f"  row {one.row:,}: {one.reason}"
    if shown and job.refused > len(shown):
        yield f"  and {job.refused - len(shown):,} more: `job.errors` has the first ones"


class JobNotDone(EventRouterError, TimeoutError):
    """The job goes on: ask again with its uuid."""

    def __init__(self, job: Job, seconds: float) -> None:
        self.job = job
        super().__init__(f"job {job.uuid} is not done after {seconds:g} s ({job.progress:.0f} %)")
