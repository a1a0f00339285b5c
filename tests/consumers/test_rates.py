"""Token buckets: never more than the limit and one bucket, whoever has the destination."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.consumers.rates import NO_LIMIT, Rates, TokenBucket
from event_router.consumers.room import Room
from event_router.schemas.delivery import DestinationKey

A, B = DestinationKey("acme", "a"), DestinationKey("acme", "b")
NOW = 1_790_000_000_000

RATES = st.one_of(st.floats(0.05, 5), st.floats(5, 5_000))


def most_over_the_limit(taken: list[int], rate: float) -> float:
    """How many more than `rate` allows came in the worst span of time. `taken` is in order."""
    worst = 0.0
    for end, at in enumerate(taken):
        for begin in range(end + 1):
            worst = max(worst, end - begin + 1 - (at - taken[begin]) * rate / 1000)
    return worst


@given(
    RATES,
    st.lists(st.tuples(st.integers(-3_000, 20_000), st.integers(1, 60)), max_size=12),
)
def test_no_span_of_time_sees_more_than_the_limit_and_one_bucket(
    rate: float, steps: list[tuple[int, int]]
) -> None:
    """However the clock runs: `steps` are how it moves, and how many want a token then."""
    bucket = TokenBucket(rate, 0.0, NOW)
    now = passed = NOW
    taken: list[int] = []
    for move, wanted in steps:
        now += move
        passed += max(move, 0)
        for _ in range(min(wanted, bucket.tokens(now))):
            bucket.take(now)
            taken.append(passed)
    assert most_over_the_limit(taken, rate) <= max(1.0, rate / 4) + 1e-3


@given(
    RATES,
    st.lists(st.tuples(st.integers(1, 3_000), st.sampled_from(["want", "move"])), max_size=40),
)
def test_nor_when_the_destination_moves_between_workers(
    rate: float, steps: list[tuple[int, str]]
) -> None:
    workers = [Rates(), Rates()]
    now, owner = NOW, workers[0]
    owner.begin(now)
    taken: list[int] = []
    for pause, what in steps:
        now += pause
        if what == "move":
            owner.stop()
            owner = workers[0] if owner is workers[1] else workers[1]
            owner.begin(now)
        for worker in workers:
            worker.limit(A, rate, now)
            for _ in range(min(worker.free(A, now), 50) if worker is owner else 0):
                worker.take(A, now)
                taken.append(now)
    assert most_over_the_limit(taken, rate) <= max(1.0, rate / 4) + 1e-3


@given(RATES)
def test_who_waits_as_long_as_it_says_gets_the_whole_rate(rate: float) -> None:
    bucket = TokenBucket(rate, 0.0, NOW)
    now = float(NOW)
    for _ in range(50):
        wait = bucket.wait(int(now))
        now += max(wait * 1000, 1)
        for _ in range(bucket.tokens(int(now) + 1)):
            bucket.take(int(now) + 1)
    spent = (now + 1 - NOW) * rate / 1000 - bucket.level
    assert spent >= 0.95 * (now - NOW) * rate / 1000 - 1


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    bucket = TokenBucket(10.0, 1.0, NOW)
    bucket.take(NOW)
    assert bucket.tokens(NOW - 3_600_000) == 0
    assert bucket.tokens(NOW - 3_600_000 + 100) == 1


def test_without_a_limit_there_is_none() -> None:
    rates = Rates()
    rates.limit(A, None, NOW)
    assert rates.free(A, NOW) == NO_LIMIT
    assert not rates.is_limited(A)


def test_the_bucket_of_one_that_was_quiet_is_full_from_the_beginning() -> None:
    rates = Rates()
    rates.begin(NOW)
    rates.limit(A, 100.0, NOW + 60_000)
    assert rates.free(A, NOW + 60_000) == 25


def test_a_limit_that_changes_holds_at_once() -> None:
    rates = Rates()
    rates.limit(A, 100.0, NOW)
    assert rates.free(A, NOW) == 25
    rates.limit(A, 1.0, NOW)
    assert rates.free(A, NOW) == 1
    rates.limit(A, None, NOW)
    assert rates.free(A, NOW) == NO_LIMIT


@pytest.mark.parametrize("rate", [0.5, 10.0, 1_000.0])
def test_nobody_is_free_after_the_stop_or_when_the_group_may_have_moved_on(rate: float) -> None:
    mine = True
    rates = Rates(lambda: mine)
    rates.limit(A, rate, NOW)
    assert rates.free(A, NOW)
    mine = False
    assert not rates.free(A, NOW)
    mine = True
    rates.stop()
    assert not rates.free(A, NOW)
    rates.begin(NOW)
    rates.limit(A, rate, NOW)
    assert not rates.free(A, NOW), "another one may have used up the bucket until now"
    assert rates.free(A, NOW + 2_000)
    assert rates.free(B, NOW) == NO_LIMIT


def test_the_room_of_a_destination_ends_with_its_tokens() -> None:
    room = Room(80)
    room.rates.limit(A, 4.0, NOW)
    assert room.free(A, NOW) == 1
    assert room.free(B, NOW) > 1
    room.take(A, NOW)
    room.rates.take(A, NOW)
    assert room.free(A, NOW) == 0
    assert room.free(A, NOW + 250) == 1


def test_the_worst_span_is_found() -> None:
    assert most_over_the_limit([0, 1_000, 2_000, 2_000, 2_000, 3_000], 1.0) == 3
