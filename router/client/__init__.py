"""Publishing to the router from Python: one event, a frame, a file, a bucket.

from event_router.client import Client

with Client("http://127.0.0.1:3333", api_key="…") as client:
    client.publish.event({"amount": 999}, tenant_id="acme", topic="order.created")
"""

if __name__ != "event_router.client":
    # In an editable install the folder can be reached through the router's, too: two copies of
    # every class would make `except APIError` miss.
    raise ModuleNotFoundError(f"{__name__} is imported as event_router.client", name=__name__)

from event_router.client.bodies import BatchPublishType, Job, Published, Refused
from event_router.client.client import AsyncClient, Client
from event_router.client.errors import (
    APIError,
    BadArgument,
    BadRequestError,
    InternalServerError,
    JobFailed,
    JobNotDone,
    NoAnswer,
    NotFoundError,
    RateLimitedError,
    TimeoutErrorT,
    UnauthorizedError,
)
from event_router.client.frames import schema_from
from event_router.client.retries import NO_RETRIES, Retries
from event_router.schemas.columns import Column, ColumnType, EventSchema
from event_router.schemas.timestamps import TimestampFormat

FiddlerTimestamp = TimestampFormat

__all__ = [
    "NO_RETRIES",
    "APIError",
    "AsyncClient",
    "BadArgument",
    "BadRequestError",
    "BatchPublishType",
    "Client",
    "Column",
    "ColumnType",
    "EventSchema",
    "FiddlerTimestamp",
    "InternalServerError",
    "Job",
    "JobFailed",
    "JobNotDone",
    "NoAnswer",
    "NotFoundError",
    "Published",
    "RateLimitedError",
    "Refused",
    "Retries",
    "TimeoutErrorT",
    "TimestampFormat",
    "UnauthorizedError",
    "schema_from",
]
