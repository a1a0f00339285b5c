"""A token bucket for each, at times that are given."""

import pytest

from event_router.router.rate_limit import RateLimit


def taken(limit: RateLimit, name: str, now: float, tries: int = 100) -> int:
    return sum(limit.take(name, now) == 0 for _ in range(tries))


def test_a_second_s_worth_may_come_at_once_and_then_the_rate_holds() -> None:
    limit = RateLimit(5)
    assert taken(limit, "a", 1000.0) == 5
    assert limit.take("a", 1000.0) == pytest.approx(0.2)
    assert taken(limit, "a", 1000.2) == 1
    assert taken(limit, "a", 1000.8) == 3


def test_after_a_long_silence_there_is_no_more_than_a_second_s_worth() -> None:
    limit = RateLimit(5)
    taken(limit, "a", 0.0)
    assert taken(limit, "a", 3600.0) == 5


def test_whoever_is_refused_pays_nothing_for_it() -> None:
    limit = RateLimit(1)
    assert taken(limit, "a", 0.0) == 1
    assert limit.take("a", 0.5) == pytest.approx(0.5)
    assert limit.take("a", 1.0) == 0


def test_less_than_one_a_second_is_one_in_a_while() -> None:
    limit = RateLimit(0.1)
    assert taken(limit, "a", 0.0) == 1
    assert limit.take("a", 4.0) == pytest.approx(6.0)
    assert taken(limit, "a", 10.0) == 1


def test_one_does_not_use_up_another_s() -> None:
    limit = RateLimit(2)
    assert taken(limit, "a", 0.0) == 2
    assert taken(limit, "b", 0.0) == 2


def test_a_clock_that_is_set_back_lets_nobody_wait_for_long() -> None:
    limit = RateLimit(2)
    taken(limit, "a", 1_000_000.0)
    assert limit.take("a", 0.0) == pytest.approx(0.5)
    assert taken(limit, "a", 1.0) == 2


def test_over_time_no_more_comes_through_than_the_rate() -> None:
    limit = RateLimit(7)
    through = sum(limit.take("a", step / 1000) == 0 for step in range(10_000))
    assert 7 * 10 <= through <= 7 * 11


def test_of_too_many_the_quietest_is_forgotten() -> None:
    limit = RateLimit(1, most=2)
    for name in ("a", "b", "c"):
        limit.take(name, 0.0)
    assert limit.take("b", 0.0) > 0
    assert limit.take("c", 0.0) > 0
    assert limit.take("a", 0.0) == 0
