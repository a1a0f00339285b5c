"""What is answered: objects as Outpost's clients read them, encoded once, documented from here."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from event_router.router.api.errors import ErrorBody
from event_router.router.api.obfuscation import shown_credentials
from event_router.router.subscriptions import subscribed
from event_router.schemas.decode import ANY_TOPIC, rfc3339
from event_router.schemas.destination import Destination, Tenant

_encode = msgspec.json.Encoder().encode
JSON = "application/json"


class TenantAnswer(msgspec.Struct):
    """A tenant; `topics` is the union of its destinations'."""

    id: str
    destinations_count: int
    topics: list[str]
    metadata: dict[str, str] | None
    created_at: str
    updated_at: str


class DestinationAnswer(msgspec.Struct):
    """A destination, its credentials obfuscated. `topics` is `*` or a list, `config` of strings.
    `rate_limit` (attempts a second) and `unreadable` (what is for it waits, since its secrets can't
    be opened) aren't Outpost's; the first is there only when there is one, the other when it is."""

    id: str
    tenant_id: str
    type: str
    topics: str | list[str]
    filter: dict[str, Any] | None
    config: dict[str, str]
    credentials: dict[str, str]
    metadata: dict[str, str] | None
    delivery_metadata: dict[str, str] | None
    disabled_at: str | None
    created_at: str
    updated_at: str
    target: str
    target_url: str | None = None
    rate_limit: float | msgspec.UnsetType = msgspec.UNSET
    unreadable: Literal[True] | msgspec.UnsetType = msgspec.UNSET


class Success(msgspec.Struct):
    """It was done."""

    success: Literal[True] = True


def json_response(answer: Any, status: int = 200) -> Response:
    return Response(_encode(answer), status, media_type=JSON)


def documented(status: int, answer: Any, *errors: int) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses`: what a success answers, and which errors there may be. Whoever reads
    a body (413) may wait for it in vain (408)."""
    late = (408,) if 413 in errors else ()
    return {
        status: content(answer, "done"),
        **{
            code: content(ErrorBody, _REASONS[code])
            for code in sorted({401, 403, 414, 422, 429, 431, 500, 503, *late, *errors})
        },
    }


_REASONS = {
    400: "the request can't be done",
    401: "the bearer key is missing or wrong",
    403: "it isn't the calling tenant's own",
    404: "there is no such thing",
    408: "the body didn't arrive in time",
    409: "it conflicts with what is there",
    413: "the body is too large",
    414: "the URL is too long",
    422: "validation error, or invalid JSON",
    429: "too many requests for this tenant: try again after `Retry-After` seconds",
    431: "the headers are too large",
    500: "a mistake of ours",
    501: "it isn't configured",
    503: "a dependency is in trouble: try again after `Retry-After` seconds",
}


def content(answer: Any, description: str) -> dict[str, Any]:
    """An entry of `responses`."""
    (schema,), _ = msgspec.json.schema_components([answer], ref_template=REF)
    return {"description": description, "content": {JSON: {"schema": schema}}}


REF = "#/components/schemas/{name}"


def tenant_answer(tenant: Tenant, destinations: list[Destination]) -> TenantAnswer:
    return TenantAnswer(
        id=tenant.id,
        destinations_count=len(destinations),
        topics=subscribed(destinations),
        metadata=tenant.metadata,
        created_at=rfc3339(tenant.created_at),
        updated_at=rfc3339(tenant.updated_at),
    )


def destination_answer(
    one: Destination, target: str, url: str | None, now: int
) -> DestinationAnswer:
    """`now` (ms) decides whether a rotated secret is still shown."""
    return DestinationAnswer(
        id=one.id,
        tenant_id=one.tenant,
        type=one.type,
        topics=ANY_TOPIC if one.topics == (ANY_TOPIC,) else list(one.topics),
        filter=one.filter,
        config=texts(one.config),
        credentials=shown_credentials(one, now),
        metadata=one.metadata,
        delivery_metadata=one.delivery_metadata,
        disabled_at=None if one.disabled_at is None else rfc3339(one.disabled_at),
        created_at=rfc3339(one.created_at),
        updated_at=rfc3339(one.updated_at),
        target=target,
        target_url=url,
        rate_limit=msgspec.UNSET if one.rate_limit is None else one.rate_limit,
        unreadable=True if one.unreadable else msgspec.UNSET,
    )


def text_of(value: Any) -> str:
    """A value as its clients expect all of them: as a string."""
    return value if isinstance(value, str) else _encode(value).decode()


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """All values as strings; those that are null are left out."""
    return {name: text_of(value) for name, value in values.items() if value is not None}
