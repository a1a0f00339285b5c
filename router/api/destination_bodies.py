"""What people enter for a destination, checked by its sink's models; and changes to one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
)

from event_router.router.api.answers import texts
from event_router.router.api.obfuscation import shown_credentials
from event_router.router.api.services import Services
from event_router.router.decisions.filters import checked_filter
from event_router.router.decisions.matching import covers
from event_router.router.settings import Settings
from event_router.router.store.ports import DestinationFields, Times
from event_router.schemas.decode import ANY_TOPIC
from event_router.schemas.destination import Destination
from event_router.schemas.errors import InvalidValue
from event_router.schemas.ids import ID_PATTERN

_CLOCK_SKEW = 60_000

TopicNames = Literal["*"] | list[Annotated[str, WithJsonSchema({"type": "string", "minLength": 1})]]
Merge = dict[str, str | None]
"""RFC 7396: null takes a key away, what isn't named stays."""

RateLimit = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False, strict=True)]
"""Attempts a second."""


class _Topics(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @field_validator("topics", check_fields=False)
    @classmethod
    def _named(cls, topics: str | list[str]) -> str | list[str]:
        if not all(topics):
            raise ValueError("a topic's name isn't empty")
        return topics


class DestinationBody(_Topics):
    """A destination to be made. `config` and `credentials` are its type's own; the times are for
    one that moves in from elsewhere."""

    id: str | None = Field(None, json_schema_extra={"pattern": f"^{ID_PATTERN}$"})
    type: str
    topics: TopicNames = Field(min_length=1)
    config: dict[str, Any] = Field(default_factory=dict)
    credentials: dict[str, Any] | None = None
    filter: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    delivery_metadata: dict[str, str] | None = None
    rate_limit: RateLimit | None = None
    disabled_at: AwareDatetime | None = None
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None


class DestinationPatch(_Topics):
    """What changes of a destination. `config`, `credentials` and both kinds of metadata are merged
    (RFC 7396: a null takes a key away, or all of them), a filter and a rate limit are replaced
    (null takes them away).
    """

    type: str | None = None
    topics: TopicNames = Field("*", min_length=1)
    config: dict[str, Any] | None = None
    credentials: dict[str, Any] | None = None
    filter: dict[str, Any] | None = None
    metadata: Merge | None = None
    delivery_metadata: Merge | None = None
    rate_limit: RateLimit | None = None
    disabled_at: AwareDatetime | None = None

    def gives(self, field: str) -> bool:
        """Whether it is there at all, be it as null."""
        return field in self.model_fields_set


def new_fields(body: DestinationBody, services: Services, *, admin: bool) -> DestinationFields:
    """What is stored, valid and completed by the sink. Raises InvalidValue."""
    sinks = services.sinks
    given = body.credentials or {}
    credentials = sinks.merge_credentials(body.type, {}, given, services.clock(), admin=admin)
    checked = sinks.check(body.type, texts(body.config), texts(credentials))
    return DestinationFields(
        type=body.type,
        topics=checked_topics(body.topics, services.settings),
        config=checked.config,
        credentials=checked.credentials,
        filter=checked_filter(body.filter) if body.filter else None,
        metadata=body.metadata,
        delivery_metadata=body.delivery_metadata,
        rate_limit=body.rate_limit,
        disabled_at=_past("disabled_at", body.disabled_at, services.clock()),
    )


def times_of(body: DestinationBody, now: int) -> Times:
    """Those that were given, or `now` (ms)."""
    created = _past("created_at", body.created_at, now)
    updated = _past("updated_at", body.updated_at, now)
    first = now if created is None else created
    return Times(first, first if updated is None else updated)


def patched_fields(
    before: Destination, patch: DestinationPatch, services: Services, *, admin: bool
) -> DestinationFields:
    """All fields of the destination after the change. Raises InvalidValue."""
    if patch.gives("type") and patch.type != before.type:
        raise InvalidValue("type", patch.type, f"{before.type}, which can't be changed")
    config, credentials = _patched_parts(before, patch, services, admin=admin)
    topics, pattern, disabled_at = before.topics, before.filter, before.disabled_at
    if patch.gives("topics"):
        topics = checked_topics(patch.topics, services.settings)
    if patch.gives("filter"):
        pattern = checked_filter(patch.filter) if patch.filter else None
    if patch.gives("disabled_at"):
        disabled_at = _past("disabled_at", patch.disabled_at, services.clock())
    return DestinationFields(
        type=before.type,
        topics=topics,
        config=config,
        credentials=credentials,
        filter=pattern,
        metadata=_merged_field("metadata", before.metadata, patch),
        delivery_metadata=_merged_field("delivery_metadata", before.delivery_metadata, patch),
        disabled_at=disabled_at,
        retry=before.retry,
        rate_limit=patch.rate_limit if patch.gives("rate_limit") else before.rate_limit,
    )


def _patched_parts(
    before: Destination, patch: DestinationPatch, services: Services, *, admin: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    if not (patch.gives("config") or patch.gives("credentials")):
        return before.config, before.credentials
    config, credentials = before.config, before.credentials
    if patch.gives("config"):
        config = merged(config, patch.config)
    if patch.gives("credentials"):
        now = services.clock()
        old = {} if patch.credentials is None else credentials
        given = _really_given(patch.credentials or {}, shown_credentials(before, now))
        credentials = services.sinks.merge_credentials(before.type, old, given, now, admin=admin)
    checked = services.sinks.check(before.type, texts(config), texts(credentials))
    return checked.config, checked.credentials


def _really_given(given: Mapping[str, Any], shown: Mapping[str, str]) -> dict[str, Any]:
    """Without what a form sends back as it was shown, stars and all."""
    return {name: value for name, value in given.items() if shown.get(name) != value}


def merged(before: Mapping[str, Any], patch: Mapping[str, Any] | None) -> dict[str, Any]:
    """RFC 7396 on one level, for values aren't objects here; a patch that is null clears."""
    after = {} if patch is None else {**before, **patch}
    return {name: value for name, value in after.items() if value is not None}


def _merged_field(
    field: str, before: dict[str, str] | None, patch: DestinationPatch
) -> dict[str, str] | None:
    if not patch.gives(field):
        return before
    return merged(before or {}, getattr(patch, field)) or None


def checked_topics(topics: str | list[str], settings: Settings) -> tuple[str, ...]:
    """As they are stored. Raises InvalidValue for one that no event can have."""
    names = (topics,) if isinstance(topics, str) else tuple(dict.fromkeys(topics))
    for name in names:
        if name != ANY_TOPIC:
            _check_topic(name, settings)
    return (ANY_TOPIC,) if ANY_TOPIC in names else names


def _check_topic(name: str, settings: Settings) -> None:
    known = settings.topics
    if "*" in name and not settings.topics_allow_wildcards:
        raise InvalidValue("topics", name, f"{ANY_TOPIC}, or a name without it")
    fits = any(covers(name, topic) for topic in known) if "*" in name else name in known
    if known and not fits:
        raise InvalidValue("topics", name, f"{ANY_TOPIC} or among {', '.join(known)}")


def _past(field: str, at: AwareDatetime | None, now: int) -> int | None:
    if at is None:
        return None
    milliseconds = round(at.timestamp() * 1000)
    if milliseconds > now + _CLOCK_SKEW:
        raise InvalidValue(field, at.isoformat(), "a time that has come")
    return min(milliseconds, now)
