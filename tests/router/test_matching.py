"""Which destinations an event goes to."""

from fnmatch import fnmatchcase
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from event_router.consumers.ports import TenantView
from event_router.router.decisions.matching import covers, filterable, match
from event_router.schemas.destination import Destination
from event_router.schemas.event import Event
from event_router.schemas.record import Place

EVENT = Event(
    tenant="acme",
    id="e-1",
    source="s",
    topic="order.paid",
    time="2026-01-31T12:00:00Z",
    data=b'{"amount": 12}',
    origin=Place("events", 0, 1, 2),
)


def destination(name: str, *topics: str, **changed: Any) -> Destination:
    whole = Destination("acme", name, "webhook", topics or ("*",), {}, {}, "v1", 0, 0)
    return msgspec.structs.replace(whole, **changed)


def matched(event: Event, *destinations: Destination) -> list[str]:
    view = TenantView("acme", {one.id: one for one in destinations})
    return [one.id for one in match(event, view)]


def test_topics_are_names_or_a_star_on_either_side() -> None:
    wanted = [
        destination("this", "order.paid", "x"),
        destination("other", "x"),
        destination("all", "*"),
    ]
    assert matched(EVENT, *wanted) == ["this", "all"]
    to_all = msgspec.structs.replace(EVENT, topic="*")
    assert matched(to_all, *wanted) == ["this", "other", "all"]


def test_a_part_of_a_topic_is_not_the_topic() -> None:
    assert matched(EVENT, destination("a", "order"), destination("b", "order.paid.x")) == []


def test_a_star_within_a_name_is_any_text() -> None:
    wanted = [
        "order.*",
        "*.paid",
        "o*p*d",
        "*e*",
        "order.paid*",
        "user.*",
        "order.*.x",
        "order.pai",
    ]
    found = matched(EVENT, *(destination(name, name) for name in wanted))
    assert found == ["order.*", "*.paid", "o*p*d", "*e*", "order.paid*"]


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_star_means_what_it_means_to_a_shell(pattern: str, topic: str) -> None:
    assume("*" in pattern)
    assert covers(pattern, topic) == fnmatchcase(topic, pattern)


def test_many_stars_take_no_longer_than_few() -> None:
    assert not covers("*a" * 500 + "b", "a" * 1000)


def test_a_disabled_destination_gets_nothing() -> None:
    assert matched(EVENT, destination("off", disabled_at=5), destination("on")) == ["on"]


def test_a_filter_decides() -> None:
    cheap = destination("cheap", filter={"data": {"amount": {"$lt": 10}}})
    dear = destination("dear", filter={"data": {"amount": {"$gte": 10}}})
    assert matched(EVENT, cheap, dear, destination("none", filter={})) == ["dear", "none"]


def test_a_named_destination_gets_it_only_if_it_fits() -> None:
    event = msgspec.structs.replace(EVENT, destination="named")
    other = destination("other")
    assert matched(event, other, destination("named")) == ["named"]
    assert matched(event, other) == []
    assert matched(event, other, destination("named", "x")) == []
    assert matched(event, other, destination("named", disabled_at=1)) == []
    assert matched(event, other, destination("named", filter={"id": "x"})) == []


def test_a_tenant_without_destinations_matches_nothing() -> None:
    assert matched(EVENT) == []


def test_filters_see_id_topic_time_metadata_and_data() -> None:
    event = msgspec.structs.replace(EVENT, metadata={"region": "eu"})
    assert filterable(event) == {
        "id": "e-1",
        "topic": "order.paid",
        "time": "2026-01-31T12:00:00Z",
        "metadata": {"region": "eu"},
        "data": {"amount": 12},
    }


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\xfe\x00", b'{"a": "\xff"}', b"[" * 200_000, b'{"a":' * 200_000]
)
def test_a_payload_that_is_not_json_is_null_to_filters(data: bytes) -> None:
    event = msgspec.structs.replace(EVENT, data=data)
    assert matched(event, destination("a", filter={"data": None})) == ["a"]
    assert matched(event, destination("b", filter={"data": {"$not": {"a": 1}}})) == ["b"]


@pytest.mark.parametrize(
    "odd",
    [b"1e999", b"9" * 5_000, b"9" * 5_000 + b".5", b'"\\ud83d"', b"123456789012345678901234567890"],
)
def test_an_odd_value_hides_nothing_that_stands_next_to_it(odd: bytes) -> None:
    data = b'{"odd": ' + odd + b', "kind": "a"}'
    event = msgspec.structs.replace(EVENT, data=data)
    kind = destination("a", filter={"data": {"kind": "a", "odd": {"$exist": True}}})
    assert matched(event, kind) == ["a"]
    ordered = {"data": {"odd": {"$or": [{"$gte": 0}, {"$gte": ""}]}}}
    assert matched(event, destination("b", filter=ordered)) == ["b"]


def test_a_byte_order_mark_is_no_part_of_the_payload_that_filters_see() -> None:
    event = msgspec.structs.replace(EVENT, data=b"\xef\xbb\xbf" + EVENT.data)
    assert filterable(event)["data"] == {"amount": 12}
