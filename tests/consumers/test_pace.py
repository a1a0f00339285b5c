from event_router.consumers.pace import FULL, Pace


def polls(pace: Pace, interval: float, records: int = 1, count: int = 2000) -> float:
    """The time of the last of so many polls."""
    now = 0.0
    for _ in range(count):
        now += interval
        pace.polled(now, records)
    return now


def test_the_first_poll_and_those_of_an_idle_topic_wait_for_nothing() -> None:
    pace = Pace(0.004)
    assert pace.pause(0.0) == 0.0
    assert pace.pause(polls(pace, interval=1.0)) == 0.0


def test_the_pause_grows_with_the_rate_of_small_polls() -> None:
    slow, fast = Pace(0.004), Pace(0.004)
    some = slow.pause(polls(slow, interval=0.01))
    most = fast.pause(polls(fast, interval=0.001))
    assert 0.0 < some < most
    assert abs(most - 0.004) < 1e-9


def test_time_that_the_work_took_is_part_of_the_pause() -> None:
    pace = Pace(0.004)
    last = polls(pace, interval=0.001)
    assert abs(pace.pause(last + 0.003) - 0.001) < 1e-9
    assert pace.pause(last + 0.005) == 0.0


def test_full_polls_follow_each_other_at_once() -> None:
    pace = Pace(0.004)
    assert pace.pause(polls(pace, interval=0.001, records=FULL)) == 0.0
