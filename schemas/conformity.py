"""What becomes of an event under its schema, and the report of a dry run. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from event_router.schemas.casting import cast, cast_event
from event_router.schemas.columns import (
    Data,
    EventSchema,
    Violation,
    unknown_fields,
    violations,
)
from event_router.schemas.errors import InvalidValue
from event_router.schemas.timestamps import TimestampFormat, parse_timestamp


class Conformed(msgspec.Struct, frozen=True):
    """An event as it goes on: without the fields in `dropped`, cast where that was asked for."""

    data: dict[str, Any]
    dropped: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()


class Remark(msgspec.Struct, frozen=True):
    """One line of a dry run's report. A fatal one means that the event would be refused."""

    type: Literal["fatal", "warning"]
    field: str
    desc: str


def conform(
    data: Data, schema: EventSchema | None, *, casting: bool = False, partial: bool = False
) -> Conformed:
    """The event under its schema; without one nothing is dropped, cast or checked.

    `partial` is for updates. Raises InvalidValue for what can't be cast, and for a violation when
    the schema rejects them.
    """
    if schema is None:
        return Conformed(dict(data))
    dropped = unknown_fields(data, schema)
    kept = {name: value for name, value in data.items() if name not in dropped}
    if casting:
        kept = cast_event(kept, schema)
    found = violations(kept, schema, partial=partial)
    if found and schema.on_violation == "reject":
        raise InvalidValue(found[0].field, kept.get(found[0].field), f"allowed: {found[0].desc}")
    return Conformed(kept, tuple(dropped), tuple(found))


def remarks(
    data: Data, schema: EventSchema | None, *, casting: bool = False, partial: bool = False
) -> list[Remark]:
    """All that there is to say about the event's fields: what can't be cast, what is dropped, and
    every violation; empty when it is fine, or there is no schema."""
    return [] if schema is None else list(_remarks(data, schema, casting=casting, partial=partial))


def timestamp_remarks(value: object, written: TimestampFormat) -> list[Remark]:
    """What there is to say about the timestamp; None is now."""
    try:
        if value is not None:
            parse_timestamp(value, written)
    except InvalidValue as error:
        return [Remark("fatal", error.field, str(error))]
    return []


def report(found: Sequence[Remark]) -> str:
    """A dry run's answer: a JSON list of `{"type", "field", "desc"}`."""
    return msgspec.json.encode(found).decode()


def _remarks(data: Data, schema: EventSchema, *, casting: bool, partial: bool) -> Iterator[Remark]:
    dropped = unknown_fields(data, schema)
    for name in dropped:
        yield Remark("warning", name, "the schema has no such field: it is dropped")
    kept: dict[str, Any] = {name: value for name, value in data.items() if name not in dropped}
    for column in schema.columns if casting else ():
        if column.name not in kept:
            continue
        try:
            kept[column.name] = cast(kept[column.name], column)
        except InvalidValue as error:
            kept[column.name] = None
            yield Remark("fatal", column.name, str(error))
    weight: Literal["fatal", "warning"] = "fatal" if schema.on_violation == "reject" else "warning"
    for one in violations(kept, schema, partial=partial):
        yield Remark(weight, one.field, one.desc)
