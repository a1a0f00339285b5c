"""What a second sight of an id means."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.router.decisions.sighting import (
    content_hash,
    judge,
    same_content,
    sighting,
    sighting_of,
)
from event_router.schemas.event import Event
from event_router.schemas.record import Place

EVENT = Event(
    tenant="acme",
    id="e-1",
    source="/shop",
    topic="order.paid",
    time="2026-01-31T12:00:00Z",
    data=b"{}",
    origin=Place("events", 3, 7, 11),
    metadata={"a": "1", "b": "2"},
    deduplicate=True,
)
SEEN = sighting_of(EVENT)
ELSEWHERE = Place("events", 3, 8, 12)


def changed(**fields: object) -> Event:
    return msgspec.structs.replace(EVENT, origin=ELSEWHERE, **fields)


def test_an_id_belongs_to_a_tenant_and_a_source() -> None:
    assert SEEN[:3] == ("acme", "/shop", "e-1")


def test_the_first_sight_of_an_id_is_new() -> None:
    assert judge(SEEN, None) == "new"


def test_the_same_record_again_is_new_as_it_may_not_have_been_finished() -> None:
    assert judge(SEEN, SEEN.value) == "new"
    other_hash = sighting("acme", "/shop", "e-1", EVENT.origin, "as hashed by another version")
    assert judge(SEEN, other_hash.value) == "new"


def test_the_same_content_in_another_record_is_a_duplicate() -> None:
    assert judge(sighting_of(changed()), SEEN.value) == "duplicate"
    assert judge(sighting_of(changed(time="2027-01-01T00:00:00Z")), SEEN.value) == "duplicate"
    assert judge(sighting_of(changed(metadata={"b": "2", "a": "1"})), SEEN.value) == "duplicate"


@pytest.mark.parametrize(
    "fields",
    [{"topic": "x"}, {"destination": "d"}, {"metadata": {"a": "1"}}, {"data": b"{ }"}],
)
def test_other_content_under_the_same_id_is_a_conflict(fields: dict[str, object]) -> None:
    assert judge(sighting_of(changed(**fields)), SEEN.value) == "id_conflict"


def test_what_the_api_remembers_of_a_record_is_what_route_would() -> None:
    content = content_hash(EVENT.topic, EVENT.destination, EVENT.metadata, EVENT.data)
    assert sighting(EVENT.tenant, EVENT.source, EVENT.id, EVENT.origin, content) == SEEN
    assert same_content(SEEN.value, content)
    assert not same_content(SEEN.value, content_hash("x", None, {}, b""))


def test_metadata_cannot_pass_for_data_nor_data_for_metadata() -> None:
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in (b"a", b"b"))
    assert content_hash("t", None, {"a": "b"}, b"x") != content_hash("t", None, {}, framed + b"x")


CONTENTS = st.tuples(
    st.text(max_size=3),
    st.none() | st.text(min_size=1, max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
    st.binary(max_size=8),
)
Content = tuple[str, str | None, dict[str, str], bytes]


@given(CONTENTS, CONTENTS)
def test_contents_have_the_same_hash_when_they_are_the_same(one: Content, other: Content) -> None:
    assert (content_hash(*one) == content_hash(*other)) is (one == other)
