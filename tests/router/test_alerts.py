"""What operators are told of an attempt, and what takes a destination out of service."""

from typing import Any

import msgspec
import pytest

from event_router.router.decisions.alerts import (
    ALERTS,
    ALL,
    CONSECUTIVE_FAILURE,
    EXHAUSTED,
    FAILED,
    SUCCEEDED,
    AlertPolicy,
    alerts_after,
    disabled_alert,
    disabled_for,
    percent_reached,
)
from event_router.router.hops.operator_events import alert_message
from event_router.schemas.attempt import AttemptHead
from event_router.schemas.topics import Topics
from tests.sinks import a_delivery

EVERYTHING = AlertPolicy(frozenset({ALL}), alert_after=10)


def attempt(outcome: Any = "failed", **changes: Any) -> AttemptHead:
    head = a_delivery(metadata={"k": "v"}).head
    plain = AttemptHead("a1", head, "webhook", outcome, "500", 1_700_000_000_000, 12.4, 500, "no")
    return msgspec.structs.replace(plain, **changes)


def told(policy: AlertPolicy, head: AttemptHead, failures: int, gave_up: str | None) -> list[str]:
    return [alert.topic for alert in alerts_after(policy, head, failures, gave_up)]


@pytest.mark.parametrize(
    ("most", "reached"),
    [
        (10, {5: 50, 7: 70, 9: 90, 10: 100}),
        (4, {2: 50, 3: 70, 4: 100}),
        (3, {2: 50, 3: 100}),
        (1, {1: 100}),
        (100, {50: 50, 70: 70, 90: 90, 100: 100}),
        (0, {}),
    ],
)
def test_each_share_of_the_failures_is_reached_once(most: int, reached: dict[int, int]) -> None:
    found = {failures: percent_reached(failures, most) for failures in range(3 * most + 3)}
    assert {failures: percent for failures, percent in found.items() if percent} == reached


def test_a_failure_that_reaches_no_share_is_only_a_failure() -> None:
    assert told(EVERYTHING, attempt(), 4, None) == [FAILED]


def test_a_failure_that_reaches_a_share_is_told_with_the_count() -> None:
    (_, alert) = alerts_after(EVERYTHING, attempt(), 5, None)
    assert alert.topic == CONSECUTIVE_FAILURE
    assert alert.details == {"consecutive_failures": {"current": 5, "max": 10, "threshold": 50}}


def test_what_disables_is_what_a_hundred_percent_are() -> None:
    policy = AlertPolicy(frozenset(ALERTS), alert_after=10, disable_after=20)
    assert told(policy, attempt(), 5, None) == []
    assert told(policy, attempt(), 20, None) == [CONSECUTIVE_FAILURE]


@pytest.mark.parametrize("reason", ["retries_exhausted", "too_old"])
def test_exhausted_retries_are_told(reason: str) -> None:
    assert told(EVERYTHING, attempt(), 1, reason) == [FAILED, EXHAUSTED]


@pytest.mark.parametrize("reason", ["manual_retry_failed", "not_eligible_for_retry", None])
def test_other_endings_are_not_exhausted_retries(reason: str | None) -> None:
    assert told(EVERYTHING, attempt(), 1, reason) == [FAILED]


def test_a_success_is_no_alert_and_a_rejection_says_nothing_of_the_destination() -> None:
    assert told(EVERYTHING, attempt("delivered"), 0, None) == [SUCCEEDED]
    assert told(EVERYTHING, attempt("rejected"), 5, "invalid_config") == [FAILED]


def test_only_what_is_wanted_is_told() -> None:
    assert told(AlertPolicy(), attempt(), 100, "retries_exhausted") == []
    policy = AlertPolicy(frozenset({EXHAUSTED}), alert_after=1)
    assert told(policy, attempt(), 1, "retries_exhausted") == [EXHAUSTED]


def test_an_attempt_read_again_is_told_with_the_same_ids() -> None:
    once, again = (
        [alert.id for alert in alerts_after(EVERYTHING, attempt(), 5, "too_old")] for _ in "12"
    )
    assert once == again
    assert len(set(once)) == 3
    (other, *_) = alerts_after(EVERYTHING, attempt(id="a2"), 5, None)
    assert other.id not in once


def test_a_destination_is_disabled_after_so_many_failures_or_when_it_is_gone() -> None:
    policy = AlertPolicy(disable_after=3)
    assert disabled_for(policy, attempt(), 2) is None
    assert disabled_for(policy, attempt(), 3) == "consecutive_failure"
    assert disabled_for(policy, attempt(), 4) == "consecutive_failure"
    assert disabled_for(policy, attempt("rejected"), 3) is None
    assert disabled_for(policy, attempt("delivered"), 0) is None
    assert disabled_for(AlertPolicy(disable_after=0), attempt(), 1000) is None
    assert disabled_for(AlertPolicy(disable_after=0), attempt(status=410), 1) == "gone"


def test_alerts_of_two_tenants_destinations_with_one_name_are_two() -> None:
    mine = attempt()
    theirs = msgspec.structs.replace(
        mine, delivery=msgspec.structs.replace(mine.delivery, tenant="other")
    )
    ids = {disabled_alert(one, "gone", 7).id for one in (mine, theirs)}
    assert len(ids) == 2


def test_the_envelope_says_what_when_and_of_whom() -> None:
    message = alert_message(disabled_alert(attempt(), "gone", 1_700_000_000_123), Topics("prod"))
    assert message.topic == "prod.events"
    assert message.value is not None
    envelope = msgspec.json.decode(message.value)
    assert envelope.pop("id")
    assert envelope == {
        "topic": "alert.destination.disabled",
        "time": "2023-11-14T22:13:20.123Z",
        "tenant_id": "acme",
        "deployment_id": "prod",
        "data": {
            "tenant_id": "acme",
            "event": {
                "id": "evt_1",
                "topic": "user.created",
                "time": "2026-01-01T00:00:00Z",
                "metadata": {"k": "v"},
            },
            "attempt": {
                "id": "a1",
                "time": "2023-11-14T22:13:20.000Z",
                "status": "failed",
                "code": "500",
                "attempt_number": 1,
                "manual": False,
                "latency_ms": 12,
                "response_data": {"status": 500, "body": "no"},
            },
            "destination": {"id": "one", "tenant_id": "acme", "type": "webhook"},
            "reason": "gone",
        },
    }


def test_an_alert_stays_small_however_much_the_event_and_the_answer_say() -> None:
    big = a_delivery(metadata={"k": "v" * 100_000}).head
    head = attempt(delivery=big, body="\x01" * 16_000)
    message = alert_message(disabled_alert(head, "gone", 0), Topics())
    assert message.value is not None
    assert len(message.value) < 16_000
    assert msgspec.json.decode(message.value)["data"]["event"]["metadata"] == {}
