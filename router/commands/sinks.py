"""What `router sinks` says: the types of destinations, and what is entered for one of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from event_router.consumers.sinks.kinds import SinkTypes


class TypeRow(NamedTuple):
    """`installed` is `yes`, or what is lacking and the command that mends it."""

    type: str
    label: str
    batches: str
    installed: str


HEAD = TypeRow("type", "what it is", "in one call", "installed")


def type_rows(sinks: SinkTypes) -> Iterator[TypeRow]:
    """Their names first."""
    yield HEAD
    for name in sinks.names:
        kind = sinks.described(name)
        batch = getattr(kind, "batch", None)
        batches = f"up to {batch.count}" if batch else ""
        yield TypeRow(name, kind.label, batches, sinks.lack(name) or "yes")


def entered_schema(sinks: SinkTypes, name: str) -> dict[str, Any]:
    """The JSON schema of a destination's `type`, `config` and `credentials`.

    Raises InvalidValue for a type that isn't known.
    """
    kind = sinks.described(name)
    credentials = kind.Credentials.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.label,
        "description": kind.description,
        "type": "object",
        "properties": {
            "type": {"const": name},
            "config": kind.Config.model_json_schema(),
            "credentials": credentials,
        },
        "required": ["type", "config"] + ["credentials"] * ("required" in credentials),
    }
