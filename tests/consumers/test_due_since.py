"""What waits for nothing but room is taken in the order of publishing."""

from event_router.consumers.ports import due_since
from event_router.schemas.delivery import DeliveryHead
from event_router.schemas.record import Place

NOW = 1_800_000_000_000


def due(published: int, began: int = NOW, round: int = 0) -> int:  # noqa: A002  a round is a round
    origin = Place("events", 0, 7, published)
    time = "2026-01-01T00:00:00Z"
    return due_since(DeliveryHead("acme", "e", "d", origin, "t", time, "test", began, round))


def test_who_was_published_first_comes_first_whoever_was_routed_first() -> None:
    assert due(NOW - 900, began=NOW + 50) < due(NOW - 800, began=NOW)


def test_it_is_due_at_once_by_clocks_that_differ_by_a_minute() -> None:
    for published in (0, NOW - 1, NOW + 3_600_000):
        assert due(published) <= NOW - 60_000


def test_old_timestamps_come_before_others_by_a_minute_at_most() -> None:
    assert due(0) == due(NOW - 60_000) == due(NOW) - 60_000


def test_a_replay_is_as_old_as_its_round() -> None:
    assert due(NOW - 50_000, round=1) == due(NOW)
