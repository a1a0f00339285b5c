"""Deliveries, attempts and the dead travel and are read back as they were."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.schemas.attempt import Attempt, AttemptHead, Dead, DeadHead, Routed
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.errors import Undecodable
from event_router.schemas.record import Message, Place, Record
from event_router.schemas.topics import Topics
from event_router.schemas.wire import (
    attempt_message,
    dead_message,
    dead_of,
    delivery_message,
    pack,
    read_dead,
    read_delivery,
    read_outcome,
    routed_message,
    unpack,
)

TOPICS = Topics("ns", partitions=4)
HEAD = DeliveryHead(
    tenant="acme",
    event="e-1",
    destination="d-1",
    origin=Place("ns.events", 3, 7, 1_769_860_800_123),
    topic="order.paid",
    time="2026-01-31T12:00:00Z",
    source="/shop",
    began=1_769_860_800_456,
)
ATTEMPT = AttemptHead("a-1", HEAD, "webhook", "failed", "503", 1_769_860_800_500, 12.5, 503)
READERS = pytest.mark.parametrize("read", [read_delivery, read_outcome, read_dead])

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
INT64 = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.integers(-62_135_596_800_000, 253_402_300_799_999)
COUNT = st.integers(0, 2**31 - 1)
PLACES = st.builds(Place, TEXT, COUNT, INT64, INT64)
DELIVERY_HEADS = st.builds(
    DeliveryHead,
    tenant=TEXT,
    event=TEXT,
    destination=TEXT,
    origin=PLACES,
    topic=TEXT,
    time=TEXT,
    source=TEXT,
    began=MOMENTS,
    round=COUNT,
    attempt=st.integers(1, 2**31 - 1),
    manual=st.booleans(),
    retry=st.booleans(),
    content_type=TEXT,
    metadata=st.dictionaries(TEXT, TEXT, max_size=3),
    v=st.just(1),
)
ATTEMPT_HEADS = st.builds(
    AttemptHead,
    id=TEXT,
    delivery=DELIVERY_HEADS,
    destination_type=TEXT,
    outcome=st.sampled_from(["delivered", "failed", "rejected"]),
    code=TEXT,
    started=MOMENTS,
    latency=st.floats(0, 1e9),
    status=st.none() | COUNT,
    body=TEXT,
    retry_after=st.none() | st.integers(0, 10**12),
    v=st.just(1),
)
DATA = st.binary(max_size=60)
HEADERS = st.lists(st.tuples(TEXT, st.none() | DATA), max_size=3)


def record_of(message: Message) -> Record:
    return Record(message.topic, 0, 0, 0, message.key, message.value, message.headers)


def with_head(head: bytes | None, value: bytes | None = b"{}") -> Record:
    return Record("t", 0, 0, 0, None, value, [("head", head)])


def reason_of(read: Callable[[Record], object], record: Record) -> str:
    with pytest.raises(Undecodable) as caught:
        read(record)
    return caught.value.reason


@given(DELIVERY_HEADS, DATA)
def test_a_delivery_is_read_as_it_was_written(head: DeliveryHead, data: bytes) -> None:
    delivery = Delivery(head, data)
    message = delivery_message(delivery, TOPICS)
    assert message.value == data
    assert read_delivery(record_of(message)) == delivery


@given(DELIVERY_HEADS, DATA)
def test_a_packed_delivery_is_unpacked_as_it_was(head: DeliveryHead, data: bytes) -> None:
    assert unpack(pack(Delivery(head, data))) == Delivery(head, data)


@given(ATTEMPT_HEADS, DATA)
def test_an_attempt_is_read_as_it_was_written(head: AttemptHead, data: bytes) -> None:
    attempt = Attempt(head, data)
    assert read_outcome(record_of(attempt_message(attempt, TOPICS))) == attempt


@given(st.builds(Routed, TEXT, TEXT, PLACES, st.just("no_match"), MOMENTS, st.just(1)))
def test_a_routing_without_delivery_is_read_as_it_was_written(routed: Routed) -> None:
    assert read_outcome(record_of(routed_message(routed, TOPICS))) == routed


@given(
    head=st.builds(
        DeadHead, TEXT, TEXT, PLACES, HEADERS, MOMENTS, st.none() | DELIVERY_HEADS, st.just(1)
    ),
    key=st.none() | DATA,
    value=st.none() | DATA,
)
def test_the_dead_are_read_as_they_were_written(
    head: DeadHead, key: bytes | None, value: bytes | None
) -> None:
    dead = Dead(head, key, value)
    assert read_dead(record_of(dead_message(dead, TOPICS))) == dead


@given(key=st.none() | DATA, value=st.none() | DATA, headers=HEADERS)
def test_a_dead_record_keeps_key_value_and_headers_so_that_it_can_be_replayed(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    given_up = Record("ns.events", 3, 7, 11, key, value, headers)
    message = dead_message(dead_of(given_up, "invalid_json", "why", 13), TOPICS)
    dead = read_dead(record_of(message))
    assert (dead.key, dead.value, dead.head.headers) == (key, value, headers)
    assert dead.head.place == Place("ns.events", 3, 7, 11)
    assert (dead.head.reason, dead.head.at, dead.head.delivery) == ("invalid_json", 13, None)


def test_deliveries_and_attempts_of_a_destination_lie_in_one_partition() -> None:
    delivery = delivery_message(Delivery(HEAD, b""), TOPICS)
    attempt = attempt_message(Attempt(ATTEMPT), TOPICS)
    assert delivery.partition == attempt.partition == TOPICS.partition_of("acme", "d-1")
    assert (delivery.topic, attempt.topic) == ("ns.deliveries", "ns.attempts")


@given(TEXT, TEXT, st.integers(1, 64))
def test_a_shard_lies_in_one_partition(tenant: str, destination: str, partitions: int) -> None:
    topics = Topics(partitions=partitions)
    shard = topics.shard_of(tenant, destination)
    assert 0 <= shard < 64
    assert topics.partition_of(tenant, destination) == shard % partitions


NEWER = {"new": [1, {"deep": "ö"}], "another": None}


def plain(head: msgspec.Struct) -> dict[str, Any]:
    return {**json.loads(msgspec.json.encode(head)), **NEWER}


def written(message: Message) -> object:
    (_, raw) = message.headers[0]
    return json.loads(raw or b"")


def test_fields_of_a_newer_release_stay_in_a_delivery_from_hop_to_hop() -> None:
    read = read_delivery(with_head(json.dumps(plain(HEAD)).encode()))
    assert msgspec.structs.replace(read.head, more=msgspec.UNSET) == HEAD
    again = unpack(pack(read))
    later = Delivery(msgspec.structs.replace(again.head, attempt=2), b"{}")
    expected = plain(msgspec.structs.replace(HEAD, attempt=2))
    assert written(delivery_message(later, TOPICS)) == expected


def test_fields_of_a_newer_release_stay_in_an_attempt_and_its_delivery() -> None:
    head = AttemptHead("a", HEAD, "webhook", "failed", "500", 1, 2.0)
    given = plain(head) | {"delivery": plain(HEAD)}
    read = read_outcome(with_head(json.dumps(given).encode()))
    assert isinstance(read, Attempt)
    assert written(attempt_message(read, TOPICS)) == given
    parked = Delivery(read.head.delivery, b"{}")
    assert written(delivery_message(parked, TOPICS)) == plain(HEAD)


def test_fields_of_a_newer_release_stay_in_the_dead() -> None:
    given = plain(DeadHead("r", "d", HEAD.origin, [], 1, HEAD)) | {"delivery": plain(HEAD)}
    read = read_dead(with_head(json.dumps(given).encode()))
    assert written(dead_message(read, TOPICS)) == given


def test_what_is_wrong_beside_a_newer_field_is_still_wrong() -> None:
    head = json.dumps(plain(HEAD) | {"attempt": 0}).encode()
    assert reason_of(read_delivery, with_head(head)) == "invalid_head"


@READERS
@pytest.mark.parametrize("version", [0, 2, 10**30])
def test_another_version_is_refused_whatever_its_shape(
    read: Callable[[Record], object], version: int
) -> None:
    head = json.dumps({"v": version, "who": "knows"}).encode()
    assert reason_of(read, with_head(head)) == "unknown_version"


def test_another_version_of_the_same_shape_is_refused() -> None:
    later = msgspec.json.encode(msgspec.structs.replace(HEAD, v=2))
    assert reason_of(read_delivery, with_head(later)) == "unknown_version"


@READERS
@pytest.mark.parametrize(
    "head",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"v":1}', b'{"v":"1"}', b'{"x":' + b"[" * 100_000],
)
def test_a_head_that_cannot_be_read_is_invalid(
    read: Callable[[Record], object], head: bytes
) -> None:
    assert reason_of(read, with_head(head)) == "invalid_head"


@READERS
def test_a_record_without_a_head_says_so(read: Callable[[Record], object]) -> None:
    assert reason_of(read, Record("t", 0, 0, 0, None, b"", ())) == "missing_head"
    assert reason_of(read, with_head(None)) == "missing_head"


def test_of_two_heads_the_last_one_counts() -> None:
    twice: list[tuple[str, bytes | None]] = [("head", b"{}"), ("head", msgspec.json.encode(HEAD))]
    assert read_delivery(Record("t", 0, 0, 0, None, b"", twice)).head == HEAD
    assert reason_of(read_delivery, Record("t", 0, 0, 0, None, b"", twice[::-1])) == "invalid_head"


def test_a_delivery_without_a_value_is_a_tombstone() -> None:
    assert reason_of(read_delivery, with_head(msgspec.json.encode(HEAD), None)) == "tombstone"


@pytest.mark.parametrize(
    "wrong", [{"attempt": 0}, {"attempt": 2**31}, {"round": -1}, {"began": 2**63}]
)
def test_a_number_that_no_database_holds_is_refused(wrong: dict[str, int]) -> None:
    head = msgspec.json.encode(msgspec.structs.replace(HEAD, **wrong))
    assert reason_of(read_delivery, with_head(head)) == "invalid_head"


@given(st.binary(max_size=40))
def test_bytes_that_were_not_packed_are_undecodable(packed: bytes) -> None:
    with pytest.raises(Undecodable):
        unpack(packed)


@given(st.one_of(st.none(), st.binary(max_size=40)), st.none() | DATA)
def test_any_record_is_read_or_undecodable(head: bytes | None, value: bytes | None) -> None:
    for read in (read_delivery, read_outcome, read_dead):
        with pytest.raises(Undecodable):
            read(with_head(head, value))
