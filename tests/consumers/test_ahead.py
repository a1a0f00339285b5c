from event_router.consumers.deliver.ahead import LONGEST_PAUSE, Ahead
from event_router.schemas.delivery import DestinationKey

A = DestinationKey("acme", "a")
B = DestinationKey("acme", "b")


def test_who_was_never_claimed_for_needs_no_pause() -> None:
    assert Ahead(200, 600).pause(A, waiting=0, now=1.0, alone=False) == 0


def test_nothing_more_is_claimed_while_some_wait_in_line() -> None:
    ahead = Ahead(200, 600)
    ahead.claimed(A, now=1.0)
    assert ahead.pause(A, waiting=1, now=1.05, alone=False) > 0


def test_the_pause_is_as_long_as_the_last_ones_took() -> None:
    ahead = Ahead(200, 600)
    ahead.claimed(A, now=1.0)
    assert round(ahead.pause(A, waiting=0, now=1.05, alone=False), 3) == 0.05
    assert round(ahead.pause(A, waiting=0, now=1.08, alone=False), 3) == 0.02
    assert ahead.pause(A, waiting=0, now=1.11, alone=False) == 0
    assert ahead.pause(B, waiting=0, now=1.05, alone=False) == 0


def test_the_pause_has_an_end_however_long_they_took() -> None:
    ahead = Ahead(200, 600)
    ahead.claimed(A, now=1.0)
    assert ahead.pause(A, waiting=0, now=100.0, alone=False) == LONGEST_PAUSE


def test_who_has_no_more_needs_no_pause_for_the_next_one() -> None:
    ahead = Ahead(200, 600)
    ahead.claimed(A, now=1.0)
    ahead.caught_up(A)
    assert ahead.pause(A, waiting=0, now=1.05, alone=False) == 0


def test_who_is_alone_has_more_claimed_before_the_last_ones_are_worked_off() -> None:
    ahead = Ahead(200, 600)
    ahead.claimed(A, now=1.0)
    assert ahead.pause(A, waiting=400, now=1.05, alone=True) == 0
    assert ahead.count(400, alone=True) == 200
    assert ahead.pause(A, waiting=600, now=1.06, alone=True) > 0


def test_who_was_alone_makes_no_pause_for_the_time_before() -> None:
    ahead = Ahead(200, 600)
    ahead.claimed(A, now=1.0)
    ahead.pause(A, waiting=0, now=1.05, alone=True)
    assert ahead.pause(A, waiting=0, now=1.06, alone=False) == 0
