"""When a destination's circuit opens, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.consumers.circuit import after_failure, is_open, probes
from event_router.consumers.ports import Backoff


def after_failures(*moments: int) -> Backoff:
    backoff: Backoff | None = None
    for moment in moments:
        backoff = after_failure(backoff, moment, None)
    assert backoff is not None
    return backoff


def test_failures_in_a_row_are_counted_from_the_first() -> None:
    assert after_failures(1_000, 2_000, 3_000) == Backoff(3, 1_000, 0)


def test_many_failures_within_a_moment_do_not_open_it() -> None:
    assert after_failures(*range(1_000, 1_100)).open_until == 0


def test_few_failures_over_a_long_time_do_not_open_it() -> None:
    assert after_failures(0, 10_000, 20_000, 30_000).open_until == 0


def test_failures_in_a_row_over_the_minimum_time_open_it() -> None:
    assert after_failures(0, 1, 2, 3, 4_999).open_until == 0
    assert after_failures(0, 1, 2, 3, 5_000).open_until == 6_000


@pytest.mark.parametrize(
    ("failing", "open_for"),
    [
        (5_000, 1_000),
        (20_000, 4_000),
        (50_000, 10_000),
        (600_000, 10_000),
        (1_800_000, 30_000),
        (10**9, 60_000),
    ],
)
def test_it_is_open_for_a_fifth_of_the_time_it_has_been_failing_within_bounds_that_grow(
    failing: int, open_for: int
) -> None:
    assert after_failures(0, 0, 0, 0, failing).open_until == failing + open_for


def test_after_a_clock_was_set_back_failures_open_it_as_before() -> None:
    opened = after_failures(*(3_600_000 + moment for moment in (0, 1, 2, 3, 5_000)))
    assert is_open(opened, 3_605_999)
    assert not is_open(opened, 0)
    failing = after_failure(opened, 0, None)
    assert failing == Backoff(6, 0, 0)
    assert after_failure(failing, 5_000, None).open_until == 6_000


def test_what_fails_late_while_it_is_open_does_not_prolong_it() -> None:
    opened = after_failures(0, 1, 2, 3, 5_000)
    assert after_failure(opened, 5_999, None).open_until == opened.open_until


def test_a_probe_that_fails_opens_it_again() -> None:
    opened = after_failures(0, 1, 2, 3, 5_000)
    assert after_failure(opened, 6_000, None).open_until == 7_200


@pytest.mark.parametrize(
    ("retry_after", "until"), [(1, 1_001), (30_000, 31_000), (10**15, 61_000), (0, 0), (-5, 0)]
)
def test_retry_after_opens_at_once_for_at_most_a_minute(retry_after: int, until: int) -> None:
    assert after_failure(None, 1_000, retry_after) == Backoff(1, 1_000, until)


def test_a_shorter_retry_after_does_not_shorten_it() -> None:
    assert after_failure(Backoff(9, 0, 50_000), 10_000, 1_000).open_until == 50_000


@given(st.lists(st.tuples(st.integers(0, 100_000), st.none() | st.integers(-10, 10**9))))
def test_it_is_never_open_for_more_than_a_minute(failures: list[tuple[int, int | None]]) -> None:
    backoff, now = None, 1_000_000
    for pause, retry_after in failures:
        now += pause
        backoff = after_failure(backoff, now, retry_after)
        assert backoff.open_until <= now + 60_000
        assert backoff.since <= now


def test_as_many_probes_follow_as_make_up_for_the_time_it_was_open() -> None:
    assert probes(after_failures(0, 1, 2, 3, 5_000)) == 12
    assert probes(after_failures(0, 1, 2, 3, 590_000)) == 100
    assert probes(after_failures(0, 1, 2, 3, 3_600_000)) == 98
    assert probes(after_failures(0, 1, 2, 3, 86_400_000)) == 4


def test_after_a_retry_after_one_probe_is_enough() -> None:
    assert probes(after_failure(None, 1_000, 60_000)) == 1
