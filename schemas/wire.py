"""How deliveries, attempts and dead records travel: the payload verbatim, one `head` header.

The schedule stores the same two, as one string: the head's length in four bytes, head, payload.
No order is promised, so each goes to another partition while its own has no leader.

Reading raises Undecodable and nothing else; UnknownVersion, which is one, says that a newer release
wrote it. A field that a newer release added to a head we can read stays in it.
"""

from typing import Any

import msgspec

from event_router.schemas.attempt import Attempt, AttemptHead, Dead, DeadHead, Routed
from event_router.schemas.delivery import READABLE, VERSION, Delivery, DeliveryHead
from event_router.schemas.errors import Undecodable, UnknownVersion
from event_router.schemas.newer_fields import (
    has_newer_fields,
    read_with_newer_fields,
    with_newer_fields,
)
from event_router.schemas.record import Message, Record, place_of
from event_router.schemas.topics import Topics

HEAD = "head"

_encode_whole = msgspec.json.Encoder().encode
_delivery_head = msgspec.json.Decoder(DeliveryHead)
_outcome_head = msgspec.json.Decoder(AttemptHead | Routed)
_dead_head = msgspec.json.Decoder(DeadHead)


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Versioned(msgspec.Struct):
    v: int = VERSION


_versioned = msgspec.json.Decoder(_Versioned)


def delivery_message(delivery: Delivery, topics: Topics) -> Message:
    head = delivery.head
    return Message(
        topic=topics.deliveries,
        key=head.destination.encode(),
        value=delivery.data,
        headers=((HEAD, _encode(head)),),
        partition=topics.partition_of(head.tenant, head.destination),
        anywhere=True,
    )


def read_delivery(record: Record) -> Delivery:
    head: DeliveryHead = _head(record, _delivery_head)
    if record.value is None:
        raise Undecodable("tombstone", "a delivery without a value")
    return Delivery(head, record.value)


def attempt_message(attempt: Attempt, topics: Topics) -> Message:
    delivery = attempt.head.delivery
    return Message(
        topic=topics.attempts,
        key=delivery.destination.encode(),
        value=attempt.data,
        headers=((HEAD, _encode(attempt.head)),),
        partition=topics.partition_of(delivery.tenant, delivery.destination),
        anywhere=True,
    )


def routed_message(routed: Routed, topics: Topics) -> Message:
    return Message(
        topic=topics.attempts,
        key=routed.event.encode(),
        value=b"",
        headers=((HEAD, _encode(routed)),),
        anywhere=True,
    )


def read_outcome(record: Record) -> Attempt | Routed:
    """What lies in `attempts`: an Attempt, or a Routed for an event that had no delivery."""
    head: AttemptHead | Routed = _head(record, _outcome_head)
    return head if isinstance(head, Routed) else Attempt(head, record.value or b"")


def dead_message(dead: Dead, topics: Topics) -> Message:
    return Message(
        topic=topics.dead,
        key=dead.key,
        value=dead.value,
        headers=((HEAD, _encode(dead.head)),),
        anywhere=True,
    )


def read_dead(record: Record) -> Dead:
    return Dead(_head(record, _dead_head), record.key, record.value)


def dead_of(
    record: Record, reason: str, detail: str, at: int, delivery: DeliveryHead | None = None
) -> Dead:
    """A record given up as it was read: key, value and headers stay, so it can be replayed."""
    head = DeadHead(reason, detail, place_of(record), list(record.headers), at, delivery)
    return Dead(head, record.key, record.value)


def pack(delivery: Delivery) -> bytes:
    """A delivery as one string of bytes, for the schedule."""
    head = _encode(delivery.head)
    return len(head).to_bytes(4, "big") + head + delivery.data


def unpack(packed: bytes) -> Delivery:
    end = 4 + int.from_bytes(packed[:4], "big")
    return Delivery(_decoded(_delivery_head, packed[4:end]), packed[end:])


def _head(record: Record, decoder: "msgspec.json.Decoder[Any]") -> Any:
    raw = record.header(HEAD)
    if raw is None:
        raise Undecodable("missing_head", f"a record of {record.topic} without a `{HEAD}` header")
    try:
        return _decoded(decoder, raw)
    except UnknownVersion as newer:
        at = (record.topic, record.partition, record.offset)
        raise UnknownVersion(newer.version, at) from None


def _decoded(decoder: "msgspec.json.Decoder[Any]", raw: bytes) -> Any:
    try:
        head = decoder.decode(raw)
    except _UNREADABLE:
        _require_version(raw)
        head = _with_newer_fields(decoder, raw)
    if head.v not in READABLE:
        raise UnknownVersion(head.v)
    return head


def _with_newer_fields(decoder: "msgspec.json.Decoder[Any]", raw: bytes) -> Any:
    try:
        return read_with_newer_fields(raw, decoder.type)
    except _UNREADABLE as error:
        raise Undecodable("invalid_head", str(error)) from error


def _encode(head: DeliveryHead | AttemptHead | Routed | DeadHead) -> bytes:
    if has_newer_fields(head):
        return _encode_whole(with_newer_fields(head))
    return _encode_whole(head)


def _require_version(raw: bytes) -> None:
    """A head of another version may have another shape: then that is what's wrong with it."""
    try:
        version = _versioned.decode(raw).v
    except _UNREADABLE:
        return
    if version not in READABLE:
        raise UnknownVersion(version)
