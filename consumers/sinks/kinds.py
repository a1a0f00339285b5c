"""The seam of sinks: what a sink's class offers, and how a destination becomes a sink.

A sink is one class in one module, named by an entry point of the group `event_router.sinks` whose
name is the destination's `type`; ours are found in the same way. A class that can't deliver, since
it has no `deliver` or what it `needs` isn't installed, still says what its destinations are made
of: they can be made and shown, and their deliveries fail with `sink_not_installed`.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, cast

from pydantic import BaseModel, ValidationError

from event_router.consumers.addresses import Resolver
from event_router.consumers.http1.sender import Sender
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.ports import Producer, Sink
from event_router.consumers.sinks.fields import (
    KEY_VALUE_MAP,
    DestinationType,
    Fields,
    Needs,
    Shown,
)
from event_router.consumers.sinks.webhook_style import STANDARD, WebhookStyle
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, InvalidValue, Rejected

log = logging.getLogger(__name__)

_HIDDEN = "***"
GROUP = "event_router.sinks"


@dataclass(frozen=True, slots=True)
class SinkResources:
    """What sinks share. `timeout` is for one attempt, `clock` the time of day, both in seconds.
    `files` is the directory below which files may be written; none when it is None.

    `open_producer` connects to nothing yet; a destination's cluster in trouble is no trouble of
    ours, so its producers report to a health of their own.
    """

    sender: Sender
    resolver: Resolver
    open_producer: Callable[[KafkaConfig], Producer]
    timeout: float = 30.0
    clock: Callable[[], float] = time.time
    webhooks: WebhookStyle = STANDARD
    files: Path | None = None


class SinkType(DestinationType, Protocol):
    """A sink's class.

    It may have static methods: `merge_credentials`, with the arguments of
    `SinkTypes.merge_credentials` from `old` on; and `check_together`, with those of `__init__` that
    people enter, which raises InvalidValue when they don't go together. And `batch` and
    `deliver_many`, see ports.BatchSink.
    """

    def __init__(
        self, destination: Destination, config: Any, credentials: Any, resources: SinkResources
    ) -> None:
        """`config` and `credentials` are of the models above. Connects to nothing yet."""
        ...

    # The rest is ports.Sink; a Protocol of classes can't say "and makes one of these".
    async def deliver(self, delivery: Any) -> Any: ...

    async def aclose(self) -> None: ...


class MergeCredentials(Protocol):
    """As `SinkTypes.merge_credentials`, for a sink's own credentials."""

    def __call__(
        self, old: Mapping[str, Any], patch: Mapping[str, Any], now: int, *, admin: bool
    ) -> dict[str, Any]: ...


CheckTogether = Callable[[Any, Any], None]


class Checked(NamedTuple):
    """What was entered, valid and completed, as it is to be stored."""

    config: dict[str, Any]
    credentials: dict[str, Any]


class SinkTypes:
    """The types of destinations, each imported when it is first needed.

    What people enter for webhooks is checked for the style `webhooks`.
    """

    def __init__(
        self,
        found: Mapping[str, EntryPoint | type[DestinationType]],
        webhooks: WebhookStyle = STANDARD,
    ) -> None:
        self._found = dict(found)
        self._webhooks = webhooks

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The types that destinations may have."""
        return tuple(sorted(self._found))

    def is_installed(self, name: str) -> bool:
        """Whether its deliveries can succeed."""
        return not self.lack(name)

    def lack(self, name: str) -> str:
        """Why no delivery to destinations of this type can succeed, and the command that mends it;
        '' when nothing is missing."""
        if name not in self._found:
            return f"no sink {name!r}; there are: {', '.join(self.names)}"
        kind = self.described(name)
        needs = needs_of(kind)
        if issubclass(kind, _Broken):
            return kind.description
        if needs.missing:
            modules = ", ".join(needs.missing)
            return f"sink {name!r} needs {modules}: {needs.command}"
        return "" if hasattr(kind, "deliver") else f"there is no sink for {name!r} yet"

    def described(self, name: str) -> type[DestinationType]:
        """What the type is made of. Raises InvalidValue for one that isn't known."""
        found = self._found.get(name)
        if found is None:
            raise InvalidValue("type", name, f"one of {', '.join(self.names)}")
        if isinstance(found, EntryPoint):
            found = self._found[name] = _loaded(found)
        return found

    def get(self, name: str) -> type[SinkType]:
        """Raises Rejected `sink_not_installed`, also for one whose requirements are missing."""
        lack = self.lack(name)
        if lack:
            answer = Answer("sink_not_installed", body=lack.encode())
            raise Rejected("sink_not_installed", lack, answer=answer)
        return cast("type[SinkType]", self.described(name))

    def check(
        self, name: str, config: Mapping[str, Any], credentials: Mapping[str, Any]
    ) -> Checked:
        """Raises InvalidValue that names the field, as in `config.url`."""
        kind = self.described(name)
        entered = (
            _entered("config", kind.Config, config, self._webhooks),
            _entered("credentials", kind.Credentials, credentials, self._webhooks),
        )
        together: CheckTogether | None = getattr(kind, "check_together", None)
        if together:
            together(*entered)
        return Checked(*map(_dumped, entered))

    def merge_credentials(
        self, name: str, old: Mapping[str, Any], patch: Mapping[str, Any], now: int, *, admin: bool
    ) -> dict[str, Any]:
        """The credentials `old` (those stored; empty for a new destination) with what `patch`
        changes, at `now` (ms); to be checked. Null deletes a field.

        Raises InvalidValue, Forbidden for what only an administrator may set.
        """
        own: MergeCredentials | None = getattr(self.described(name), "merge_credentials", None)
        return own(old, patch, now, admin=admin) if own else merged_fields(old, patch)

    def open(self, destination: Destination, resources: SinkResources) -> Sink:
        """The destination's sink. Raises Rejected: `sink_not_installed` or `invalid_config`."""
        kind = self.get(destination.type)
        try:
            config = _entered("config", kind.Config, destination.config)
            credentials = _entered("credentials", kind.Credentials, destination.credentials)
            return kind(destination, config, credentials, resources)
        except InvalidValue as error:
            raise Rejected("invalid_config", str(error)) from error

    def shown(self, destination: Destination) -> Shown:
        """Where it leads; nothing when its type isn't known, or its config not valid."""
        try:
            kind = self.described(destination.type)
            return kind.shown(_entered("config", kind.Config, destination.config))
        except InvalidValue:
            return Shown("")


def load_sinks(webhooks: WebhookStyle = STANDARD) -> SinkTypes:
    """All that are installed."""
    return SinkTypes({point.name: point for point in entry_points(group=GROUP)}, webhooks)


NOTHING = Needs("", ())


def needs_of(kind: type[DestinationType]) -> Needs:
    needs: Needs = getattr(kind, "needs", NOTHING)
    return needs


class _Broken:
    """A type whose module can't be imported, which the description says."""

    label: ClassVar[str]
    description: ClassVar[str]
    Config: ClassVar[type[BaseModel]] = Fields
    Credentials: ClassVar[type[BaseModel]] = Fields

    @staticmethod
    def shown(_: Any) -> Shown:
        return Shown("")


def _loaded(point: EntryPoint) -> type[DestinationType]:
    try:
        kind: type[DestinationType] = point.load()
    except (ImportError, AttributeError) as error:
        log.warning("sink.not_installed", extra={"sink": point.name, "detail": str(error)})
        said = {"label": point.name, "description": f"sink {point.name!r}: {error}"}
        return type("Broken", (_Broken,), said)
    return kind


def merged_fields(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396 for fields that aren't objects."""
    return {name: value for name, value in {**old, **patch}.items() if value is not None}


def _dumped(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_none=True)


def _entered(
    part: str,
    model: type[BaseModel],
    given: Mapping[str, Any],
    webhooks: WebhookStyle | None = None,
) -> BaseModel:
    """With a style, as people enter it; without one, as it was stored, under whatever style."""
    try:
        return model.model_validate(dict(given), context=webhooks)
    except ValidationError as error:
        raise _invalid(part, model, error.errors()[0]) from None


def _invalid(part: str, model: type[BaseModel], problem: Any) -> InvalidValue:
    """The first problem, in our words. Credentials, and what may hold one, are never shown."""
    field = ".".join((part, *map(str, problem["loc"])))
    if problem["type"] == "missing":
        return InvalidValue(field, None, "a value, and it is required")
    if problem["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields) or "none"
        return InvalidValue(field, _HIDDEN, f"a known field; there are: {known}")
    shown = problem["input"] if part != "credentials" and _is_open(model, problem) else _HIDDEN
    expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return InvalidValue(field, shown, expected)


def _is_open(model: type[BaseModel], problem: Any) -> bool:
    """Whether the field holds nothing secret: neither by its own word, nor headers, nor a key in a
    place for certificates."""
    field = model.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
    if field is None or "PRIVATE KEY" in str(problem["input"]):
        return False
    return field.repr and field.json_schema_extra is not KEY_VALUE_MAP
