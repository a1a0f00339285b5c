"""What follows an attempt."""

from statistics import mean
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.router.decisions.delays import ExponentialDelays, FixedDelays
from event_router.router.decisions.retry import (
    Done,
    GiveUp,
    Retry,
    RetryPolicy,
    decide,
    dice_of,
    policy_for,
    policy_from,
)
from event_router.router.settings import read_settings
from event_router.schemas.attempt import AttemptHead
from event_router.schemas.delivery import DeliveryHead
from event_router.schemas.destination import Destination, RetryOverride
from event_router.schemas.record import Place

BEGAN = 1_000_000
NOW = BEGAN + 10_000
POLICY = RetryPolicy(FixedDelays((5.0, 30.0)), limit=4, max_age=3600)
FAILED = AttemptHead(
    id="a-1",
    delivery=DeliveryHead(
        tenant="acme",
        event="e-1",
        destination="d-1",
        origin=Place("events", 3, 7, BEGAN),
        topic="t",
        time="2026-01-31T12:00:00Z",
        source="s",
        began=BEGAN,
    ),
    destination_type="webhook",
    outcome="failed",
    code="503",
    started=NOW,
    latency=1.0,
)


def after(head: AttemptHead = FAILED, **changed: Any) -> AttemptHead:
    """`head` with other fields of its own, or of its delivery."""
    own = {name: value for name, value in changed.items() if name in AttemptHead.__struct_fields__}
    rest = {name: value for name, value in changed.items() if name not in own}
    delivery = msgspec.structs.replace(head.delivery, **rest)
    return msgspec.structs.replace(head, delivery=delivery, **own)


def decided(policy: RetryPolicy = POLICY, dice: float = 0.5, **changed: Any) -> object:
    return decide(policy, after(**changed), NOW, dice)


def test_a_delivered_attempt_is_done() -> None:
    assert decided(outcome="delivered") == Done()
    assert decided(outcome="delivered", manual=True, retry=False, attempt=99) == Done()


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 30), (3, 30), (4, 30)])
def test_the_schedule_says_when_and_its_last_delay_repeats(attempt: int, seconds: int) -> None:
    assert decided(attempt=attempt) == Retry(NOW + seconds * 1000)


def test_after_the_limit_of_retries_it_is_given_up() -> None:
    assert decided(attempt=5) == GiveUp("retries_exhausted")
    assert decided(RetryPolicy(FixedDelays((5.0,)), 0, 3600)) == GiveUp("retries_exhausted")


def test_what_would_be_retried_past_its_age_is_given_up() -> None:
    exactly = NOW + 5_000 - 3_600_000
    assert decided(began=exactly) == Retry(NOW + 5_000)
    assert decided(began=exactly - 1) == GiveUp("too_old")


def test_what_no_retry_can_mend_is_given_up_with_its_code() -> None:
    assert decided(outcome="rejected", code="unknown_sink") == GiveUp("unknown_sink")


def test_a_manual_retry_and_an_event_not_eligible_get_one_attempt() -> None:
    assert decided(manual=True) == GiveUp("manual_retry_failed")
    assert decided(retry=False) == GiveUp("not_eligible_for_retry")


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 429, 500, 503])
def test_every_answer_but_success_is_retried(status: int) -> None:
    assert decided(status=status, code=str(status)) == Retry(NOW + 5_000)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(0, 5_000), (-60_000, 5_000), (4_000, 5_000), (60_000, 60_000), (10**12, 3_600_000)],
)
def test_retry_after_is_obeyed_when_it_is_longer_and_within_an_hour(
    asked: int, waited: int
) -> None:
    patient = RetryPolicy(FixedDelays((5.0,)), 4, 86_400)
    assert decided(patient, retry_after=asked) == Retry(NOW + waited)


@given(st.integers(1, 2**31 - 1), st.floats(0, 1, exclude_max=True))
def test_exponential_delays_have_full_jitter_below_a_doubling_bound(
    attempt: int, dice: float
) -> None:
    delays = ExponentialDelays(5.0, 3600.0)
    bound = min(5.0 * 2 ** min(attempt - 1, 30), 3600.0)
    delay = delays.delay(attempt, dice)
    assert 0 <= delay <= bound
    assert delay == pytest.approx(bound * dice)


@given(
    attempt=st.integers(1, 12),
    dice=st.floats(0, 1, exclude_max=True),
    retry_after=st.none() | st.integers(-(2**63), 2**63 - 1),
    now=st.integers(BEGAN, BEGAN + 10**9),
    exponential=st.booleans(),
)
def test_a_retry_is_never_before_now_nor_past_the_age(
    attempt: int, dice: float, retry_after: int | None, now: int, exponential: bool
) -> None:
    delays = ExponentialDelays(5.0, 3600.0) if exponential else FixedDelays((5.0, 30.0))
    policy = RetryPolicy(delays, 10, 86_400)
    head = after(attempt=attempt, retry_after=retry_after)
    what = decide(policy, head, now, dice)
    assert what == decide(policy, head, now, dice)
    if isinstance(what, Retry):
        assert now <= what.at <= BEGAN + 86_400_000
        assert attempt <= 10
    else:
        assert what in {GiveUp("retries_exhausted"), GiveUp("too_old")}


# -- dice ---------------------------------------------------------------------------------------


def test_the_dice_of_an_attempt_fall_the_same_way_again() -> None:
    assert dice_of(FAILED.delivery) == dice_of(after().delivery)


@pytest.mark.parametrize(
    "other",
    [{"attempt": 2}, {"round": 1}, {"destination": "d-2"}, {"origin": Place("events", 3, 8, 0)}],
)
def test_other_attempts_have_other_dice(other: dict[str, Any]) -> None:
    assert dice_of(after(**other).delivery) != dice_of(FAILED.delivery)


def test_the_dice_of_neighbours_are_spread_evenly() -> None:
    dice = [
        dice_of(after(origin=Place("events", 3, offset, 0)).delivery) for offset in range(2_000)
    ]
    assert all(0 <= one < 1 for one in dice)
    assert mean(dice) == pytest.approx(0.5, abs=0.05)
    tenths = [sum(tenth <= one * 10 < tenth + 1 for one in dice) for tenth in range(10)]
    assert min(tenths) > 120


# -- policies -----------------------------------------------------------------------------------


def own(schedule: tuple[float, ...] | None = None, limit: int | None = None) -> RetryPolicy:
    override = RetryOverride(schedule, limit)
    destination = Destination("acme", "d", "webhook", ("*",), {}, {}, "v", 0, 0, retry=override)
    return policy_for(destination, POLICY)


def test_without_an_own_policy_the_default_holds() -> None:
    plain = Destination("acme", "d", "webhook", ("*",), {}, {}, "v", 0, 0)
    assert policy_for(None, POLICY) is POLICY
    assert policy_for(plain, POLICY) is POLICY
    assert own() == POLICY


def test_a_destinations_own_schedule_brings_its_length_as_the_limit() -> None:
    assert own((1.0, 2.0)) == RetryPolicy(FixedDelays((1.0, 2.0)), 2, POLICY.max_age)
    assert own((1.0, 2.0), 7) == RetryPolicy(FixedDelays((1.0, 2.0)), 7, POLICY.max_age)
    assert own(limit=1) == RetryPolicy(POLICY.delays, 1, POLICY.max_age)


def test_an_own_schedule_without_delays_is_no_retry() -> None:
    assert decide(own(()), FAILED, NOW, 0.5) == GiveUp("retries_exhausted")


def test_the_settings_give_the_global_policy() -> None:
    default = policy_from(read_settings({}))
    assert isinstance(default.delays, FixedDelays)
    assert default.limit == len(default.delays.seconds) == 10
    assert default.max_age == 7 * 86_400
    listed = read_settings({"ROUTER_RETRY_SCHEDULE": "1,2", "ROUTER_RETRY_MAX_AGE": "60"})
    assert policy_from(listed) == RetryPolicy(FixedDelays((1.0, 2.0)), 2, 60)
    none = read_settings({"ROUTER_RETRY_LIMIT": "0"})
    assert policy_from(none).limit == 0
    exponential = {"ROUTER_RETRY_SCHEDULE": "exponential:5:3600"}
    assert policy_from(read_settings(exponential)) == RetryPolicy(
        ExponentialDelays(5.0, 3600.0), 10, 7 * 86_400
    )
    assert policy_from(read_settings(exponential | {"ROUTER_RETRY_LIMIT": "99"})).limit == 99
