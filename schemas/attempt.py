"""What became of a delivery or an event: an attempt, a routing without a delivery, a dead one."""

from typing import Annotated, Any, Literal

import msgspec

from event_router.schemas.delivery import VERSION, DeliveryHead
from event_router.schemas.record import Count, Headers, Milliseconds, Moment, Place

BODY_KEPT = 16 * 1024
TOO_LARGE = "message_too_large"

Outcome = Literal["delivered", "failed", "rejected"]
RoutedAs = Literal["no_match", "duplicate", "id_conflict"]


class AttemptHead(
    msgspec.Struct,
    frozen=True,
    gc=False,
    tag_field="kind",
    tag="attempt",
    forbid_unknown_fields=True,
):
    """One try to deliver. `id` is its key; the number in `delivery.attempt` is for people.

    `failed` may be tried again, `rejected` may not. `started` is in ms since the epoch,
    `latency` in ms; `retry_after` in ms, when the destination named a time. `body` is what the
    destination answered, cut to BODY_KEPT.
    """

    id: str
    delivery: DeliveryHead
    destination_type: str
    outcome: Outcome
    code: str
    started: Moment
    latency: Annotated[float, msgspec.Meta(ge=0, le=1e12)]
    status: Count | None = None
    body: str = ""
    retry_after: Milliseconds | None = None
    v: int = VERSION
    more: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A head, and the payload unless it was delivered: then nobody needs it again."""

    head: AttemptHead
    data: bytes = b""


def with_less(attempt: Attempt) -> Attempt | None:
    """For a topic that doesn't take it: without what was answered, or else given up, without the
    payload. None when there is no less of it."""
    head = attempt.head
    if head.body:
        return Attempt(msgspec.structs.replace(head, body=""), attempt.data)
    if attempt.data:
        return Attempt(msgspec.structs.replace(head, outcome="rejected", code=TOO_LARGE))
    return None


class Routed(
    msgspec.Struct,
    frozen=True,
    gc=False,
    tag_field="kind",
    tag="routed",
    forbid_unknown_fields=True,
):
    """An event that route sent to no destination, and why."""

    tenant: str
    event: str
    origin: Place
    outcome: RoutedAs
    at: Moment
    v: int = VERSION
    more: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class DeadHead(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Why a record or a delivery was given up, and all that replaying it takes.

    `place` and `headers` are those of the record that was given up; its key and value are the
    dead record's own. `delivery` is there unless the record could not be read. `at` in ms.
    """

    reason: str
    detail: str
    place: Place
    headers: Headers
    at: Moment
    delivery: DeliveryHead | None = None
    v: int = VERSION
    more: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Dead(msgspec.Struct, frozen=True, gc=False):
    """A head and the given-up record's key and value."""

    head: DeadHead
    key: bytes | None
    value: bytes | None


def note_of(dead: Dead) -> Dead:
    """That it was given up, and where its content lies: there is nothing in it to replay."""
    head = dead.head
    at = head.delivery.origin if head.delivery else head.place
    detail = f"too large for dead: the content is in {at.topic}/{at.partition} at {at.offset} only"
    if head.detail:
        detail = f"{head.detail}; {detail}"
    return Dead(msgspec.structs.replace(head, detail=detail, headers=[]), None, None)
