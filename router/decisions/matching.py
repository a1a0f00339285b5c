"""Which destinations an event goes to. Pure: the same event and view give the same answer."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from event_router.consumers.ports import TenantView
from event_router.router.decisions.filters import Allowance, TooCostly, matches
from event_router.schemas.decode import ANY_TOPIC
from event_router.schemas.destination import Destination
from event_router.schemas.event import Event

TOPICS_REMEMBERED = 1_000

_any_json = msgspec.json.Decoder()


TooCostlyFor = Callable[[Destination], None]
"""Told of a destination that gets an event because its filter couldn't be decided."""


def _nobody(_: Destination) -> None:
    """Is told."""


def match(event: Event, view: TenantView, too_costly: TooCostlyFor = _nobody) -> list[Destination]:
    """The enabled destinations whose topics and filter fit, or of those the one it names."""
    fitting = [
        one
        for one in subscribed(event.topic, view)
        if event.destination is None or one.id == event.destination
    ]
    if any(one.filter for one in fitting):
        document, allowance = filterable(event), Allowance()
        fitting = [one for one in fitting if _lets_through(one, document, allowance, too_costly)]
    return fitting


def _lets_through(
    one: Destination, document: dict[str, Any], allowance: Allowance, too_costly: TooCostlyFor
) -> bool:
    """What a filter can't decide at a bearable cost isn't kept from its destination."""
    try:
        return not one.filter or matches(one.filter, document, allowance)
    except TooCostly:
        too_costly(one)
        return True


def subscribed(topic: str, view: TenantView) -> tuple[Destination, ...]:
    """The enabled destinations that want events of the topic. Looked for once a view and topic:
    a tenant with a thousand destinations costs no more than one with a few."""
    found = view.by_topic.get(topic)
    if found is None:
        found = tuple(
            one
            for one in view.destinations.values()
            if one.disabled_at is None and _wants(topic, one)
        )
        if len(view.by_topic) < TOPICS_REMEMBERED:
            view.by_topic[topic] = found
    return found


def filterable(event: Event) -> dict[str, Any]:
    """What filters see. The only place that parses a payload; one that isn't JSON is null."""
    return {
        "id": event.id,
        "topic": event.topic,
        "time": event.time,
        "metadata": event.metadata,
        "data": _parsed(event.data),
    }


def _wants(topic: str, destination: Destination) -> bool:
    return (
        topic == ANY_TOPIC
        or ANY_TOPIC in destination.topics
        or topic in destination.topics
        or any("*" in name and covers(name, topic) for name in destination.topics)
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
