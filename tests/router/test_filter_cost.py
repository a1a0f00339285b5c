"""Nobody's filter holds up the others: what it may cost is bounded, when made and when used."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from event_router.consumers.health import Health
from event_router.consumers.ports import TenantView
from event_router.router.decisions.filters import (
    LARGEST,
    STEPS,
    TooCostly,
    _Evaluation,
    checked_filter,
    matches,
)
from event_router.router.decisions.matching import filterable, match
from event_router.router.hops.route import Route
from event_router.router.metrics import RoleCollector, registry_of
from event_router.schemas.errors import InvalidValue
from event_router.schemas.event import Event
from event_router.schemas.record import Place
from tests.loop import World, destination
from tests.router.test_filters import PATTERNS, VALUES

LARGE = 512 * 1024
LONGEST = 0.2
"""Seconds of CPU: some ten times what was measured, for machines that have other things to do."""


def _fill(part: str) -> list[Any]:
    """As many as fit into the largest event."""
    made: list[Any] = json.loads("[" + ",".join([part] * (LARGE // (len(part) + 1))) + "]")
    return made


def _many(make: Callable[[int], Any]) -> list[Any]:
    """As many as fit into the largest filter."""
    parts: list[Any] = []
    size = 0
    while size < LARGEST - 1000:
        parts.append(make(len(parts)))
        size += len(msgspec.json.encode(parts[-1])) + 1
    return parts


def _deep(innermost: Any, *names: str) -> Any:
    for name in names:
        innermost = {name: innermost}
    return innermost


HOSTILE: dict[str, tuple[Any, Any]] = {
    "numbers that aren't in a long list": (_many(lambda n: -n - 1), _fill("7")),
    "one of numbers that aren't there": ({"$in": _many(lambda n: -n - 1)}, _fill("7")),
    "none of them": ({"$nin": _many(lambda n: -n - 1)}, _fill("7")),
    "any of many": ({"$or": _many(lambda n: -n - 1)}, _fill("7")),
    "all of many nots": ({"$and": _many(lambda n: {"$not": -1})}, _fill("7")),
    "one that is true instead": ({"$or": _many(lambda n: 1)}, _fill("true")),
    "texts with one beginning": ({"$or": _many(lambda n: "a" * 60)}, _fill('"' + "a" * 61 + '"')),
    "objects in objects": (_many(lambda n: {"x": {"$not": 0}}), _fill('{"x":0}')),
    "lists in lists": (_many(lambda n: [[[n]]]), _fill("[[[0]]]")),
    "a scalar in many lists": ({"$or": _many(lambda n: [n + 1])}, _fill("[0,0,0,0]")),
    "equal but for the end": ({"$or": [[0] * 3000 + [n] for n in range(2)]}, [0] * 3000 + [9]),
    "a long text in a longer": ({"$in": "a" * 8000 + "b"}, "a" * LARGE),
    "texts in a long text": (
        {"$or": _many(lambda n: {"$in": "a" * 200 + "b" + "a" * 200})},
        ("a" * 399 + "c") * (LARGE // 400),
    ),
    "a search that starts again": (
        {"$or": _many(lambda n: {"$in": ("ab" * 99 + "aa") * 2})},
        "ab" * (LARGE // 2),
    ),
    "lists that differ at their ends": (
        {"$or": _many(lambda n: {"$eq": [0.5] * 19 + [n]})},
        _fill("[" + ",".join(["0.5"] * 20) + "]"),
    ),
    "objects that differ at their ends": (
        {"$or": _many(lambda n: {"$eq": {**dict.fromkeys("abcdefgh", 0.5), "z": n}})},
        _fill(json.dumps({**dict.fromkeys("abcdefgh", 0.5), "z": 0.5})),
    ),
    "ends": ({"$or": _many(lambda n: {"$endsWith": "a" * 500})}, "a" * LARGE),
    "nots in nots": (_deep({"$or": [1] * 2000}, *["$not"] * 28), _fill("7")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_worst_filter_on_the_largest_event_takes_a_moment(name: str) -> None:
    pattern, value = HOSTILE[name]
    checked = checked_filter({"data": {"a": pattern}})
    began = time.thread_time()
    with suppress(TooCostly):
        matches(checked, {"data": {"a": value}})
    assert time.thread_time() - began < LONGEST


async def test_many_events_with_many_hostile_filters_leave_others_their_turns() -> None:
    """Heartbeats among them: without, the group would give the same events to the next one."""
    pattern, value = HOSTILE["any of many"]
    world = World(lambda: 1)
    world.directory.put(*(destination(f"d{n}", filter={"data": pattern}) for n in range(20)))
    events = 10
    await world.publish(
        *(f"e{number}" for number in range(events)), data=msgspec.json.encode(value)
    )
    turns: list[float] = []
    routing = asyncio.create_task(
        world.life().route(world.broker.records(world.topics.events)), name="route"
    )
    began = time.thread_time()
    while not routing.done():
        await asyncio.sleep(0)
        turns.append(time.thread_time())
    await routing
    assert len(turns) >= events
    assert max(after - before for before, after in pairwise([began, *turns])) < 3 * LONGEST
    assert len(world.broker.records(world.topics.deliveries)) == events * 20


def _event(data: Any) -> Event:
    encoded = json.dumps(data).encode()
    return Event("acme", "e", "s", "t", "2026-01-01T00:00:00Z", encoded, Place("t", 0, 0, 0))


def test_an_event_that_is_too_large_for_a_filter_passes_it() -> None:
    """Rather than being lost: a destination may get more than it asked for, and never less."""
    costly = {"data": {"a": HOSTILE["any of many"][0]}}
    plain = {"data": {"b": 2}}
    view = TenantView(
        "acme", {"x": destination("x", filter=costly), "y": destination("y", filter=plain)}
    )
    assert [one.id for one in match(_event({"a": [7] * 200_000}), view)] == ["x"]
    assert match(_event({"a": [7]}), view) == []


async def test_what_passes_a_filter_for_its_cost_is_counted_and_told_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times: list[int] = []
    world = World(lambda: times[-1])
    costly = {"data": {"a": HOSTILE["any of many"][0]}}
    world.directory.put(*(destination(name, filter=costly) for name in "xy"))
    route = Route(
        world.topics, world.directory, world.duplicates, world.broker, Health(), lambda: times[-1]
    )
    times.append(0)
    await world.publish("e1", data=json.dumps({"a": [7] * 200_000}).encode())
    with caplog.at_level("WARNING", "event_router.router.hops.route"):
        for now in (0, 1_000, 59_999, 60_000):
            times.append(now)
            await route(world.broker.records(world.topics.events))
    told = [vars(line) for line in caplog.records if line.msg == "filter.too_costly"]
    assert [(line["tenant"], line["destination"]) for line in told] == [
        ("acme", "x"),
        ("acme", "y"),
    ] * 2
    assert route.counts.filters_too_costly == 2 * 4
    metrics = generate_latest(registry_of(RoleCollector({"route": route.counts}, dict)))
    assert b"router_route_filters_too_costly_total 8.0" in metrics


def test_a_long_list_is_searched_for_what_people_ask() -> None:
    ids = {"data": {"ids": list(range(200_000))}}
    assert matches({"data": {"ids": 199_999}}, ids)
    assert matches({"data": {"ids": [3, 77_777]}}, ids)
    assert not matches({"data": {"ids": {"$in": ["x", "y", None, -1]}}}, ids)


@pytest.mark.parametrize(
    "pattern",
    [
        {"data": {"a": "x" * LARGEST}},
        {"data": {"a": list(range(LARGEST))}},
        {"$or": [{"data": {"a": number}} for number in range(LARGEST // 10)]},
    ],
)
def test_a_filter_has_a_bounded_size(pattern: Any) -> None:
    with pytest.raises(InvalidValue, match=f"at most {LARGEST} bytes"):
        checked_filter(pattern)


@pytest.mark.parametrize("depth", [40, 5_000, 100_000])
def test_a_filter_that_is_nested_too_deep_is_refused_however_deep(depth: int) -> None:
    for name in ("$not", "a", "$and"):
        pattern: Any = {}
        for _ in range(depth):
            pattern = {name: [pattern] if name == "$and" else pattern}
        with pytest.raises(InvalidValue, match=r"levels deep|bytes of JSON"):
            checked_filter({"data": pattern})
        while pattern:  # or taking it apart is what is nested too deep
            pattern = pattern[name][0] if name == "$and" else pattern[name]


def test_data_that_is_nested_too_deep_is_null_to_filters() -> None:
    deep = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    event = Event("acme", "e", "s", "t", "2026-01-01T00:00:00Z", deep, Place("t", 0, 0, 0))
    assert filterable(event)["data"] is None


def _plainly(pattern: Any, value: Any) -> bool:
    """What a list has, looked for without haste."""
    by = _Evaluation(STEPS)
    if not isinstance(pattern, dict | list) and isinstance(value, list):
        return by._same(value, pattern) or any(by._same(one, pattern) for one in value)
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(_plainly(part, one) for one in value) for part in pattern
        )
    return matches(pattern, value)


@given(PATTERNS | st.lists(PATTERNS, max_size=3), st.lists(VALUES, max_size=6))
def test_looking_fast_finds_what_looking_at_each_does(pattern: Any, value: Any) -> None:
    assert matches(pattern, value) == _plainly(pattern, value)


def test_steps_are_enough_for_filters_as_people_write_them() -> None:
    pattern = {
        "topic": {"$in": ["order.paid", "order.made"]},
        "data": {"$or": [{"amount": {"$gt": 10}}, {"customer": {"id": {"$startsWith": "c_"}}}]},
    }
    by = _Evaluation(STEPS)
    document = {"topic": "order.made", "data": {"amount": 1, "customer": {"id": "c_1"}}}
    assert by.matches(pattern, document)
    assert by.left > STEPS - 30
