"""Which destinations an event goes to. Pure: the same event and view give the same answer."""

import json
from typing import Any

import msgspec

from event_router.consumers.ports import TenantView
from event_router.router.filters import matches
from event_router.schemas.decode import ANY_TOPIC
from event_router.schemas.destination import Destination
from event_router.schemas.event import Event

_any_json = msgspec.json.Decoder()


def match(event: Event, view: TenantView) -> list[Destination]:
    """The enabled destinations whose topics and filter fit, or of those the one it names."""
    candidates = (
        view.destinations.values()
        if event.destination is None
        else filter(None, (view.destinations.get(event.destination),))
    )
    fitting = [one for one in candidates if one.disabled_at is None and _subscribed(event, one)]
    if any(one.filter for one in fitting):
        document = filterable(event)
        fitting = [one for one in fitting if not one.filter or matches(one.filter, document)]
    return fitting


def filterable(event: Event) -> dict[str, Any]:
    """What filters see. The only place that parses a payload; one that isn't JSON is null."""
    return {
        "id": event.id,
        "topic": event.topic,
        "time": event.time,
        "metadata": event.metadata,
        "data": _parsed(event.data),
    }


def _subscribed(event: Event, destination: Destination) -> bool:
    return (
        event.topic == ANY_TOPIC
        or ANY_TOPIC in destination.topics
        or event.topic in destination.topics
        or any("*" in name and covers(name, event.topic) for name in destination.topics)
    )


def covers(pattern: str, topic: str) -> bool:
    """Whether `topic` is one of those that `pattern` stands for, in which each `*` is any text.
    In linear time, whatever people enter."""
    first, *between, last = pattern.split("*")
    end = len(topic) - len(last)
    at = len(first)
    if end < at or not topic.startswith(first) or not topic.endswith(last):
        return False
    for part in between:
        found = topic.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _parsed(data: bytes) -> Any:
    try:
        return _any_json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _parsed_leniently(data)
    except RecursionError:
        return None


def _parsed_leniently(data: bytes) -> Any:
    """Numbers beyond a float, half surrogates and a byte order mark are no reason not to match
    what stands next to them."""
    try:
        return json.loads(data, parse_int=float)
    except (ValueError, RecursionError):
        return None
