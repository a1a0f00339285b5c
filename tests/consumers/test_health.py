"""What a role says of itself."""

import logging

import pytest

from event_router.consumers.health import Health


class Clock:
    """Monotonic seconds, moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock, started=True)


def test_a_role_is_ready_once_it_has_started() -> None:
    assert not Health().ready
    assert Health(started=True).ready


def test_a_role_is_not_ready_while_any_dependency_is_down(health: Health) -> None:
    health.down("redis", "connection refused")
    health.down("kafka", "no leader")
    health.up("redis")
    assert not health.ready
    assert health.troubles == {"kafka": "no leader"}
    health.up("kafka")
    assert health.ready


def test_trouble_is_logged_when_it_begins_and_when_it_ends(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        health.up("redis")
        health.down("redis", "first")
        health.down("redis", "second")
        health.up("redis")
        health.up("redis")
    assert [record.message for record in caplog.records] == ["dependency.down", "dependency.up"]
    assert health.troubles == {}


def test_what_waits_without_progress_is_a_stall(health: Health, clock: Clock) -> None:
    clock.now += 30
    assert health.stalled_for(lag=5) == 30
    health.progress()
    clock.now += 1
    assert health.stalled_for(lag=5) == 1


def test_without_lag_nothing_stalls(health: Health, clock: Clock) -> None:
    clock.now += 30
    assert health.stalled_for(lag=0) == 0
    clock.now += 1
    assert health.stalled_for(lag=5) == 1


def test_time_with_a_dependency_down_is_no_stall(health: Health, clock: Clock) -> None:
    health.down("redis", "connection refused")
    clock.now += 30
    assert health.stalled_for(lag=5) == 0
    clock.now += 30
    health.up("redis")
    clock.now += 2
    assert health.stalled_for(lag=5) == 2
