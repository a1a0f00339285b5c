"""The short line in front of a destination that has no room for a moment."""

from event_router.consumers.deliver.waiting_line import Waiting, WaitingLine
from event_router.schemas.delivery import Delivery, DeliveryHead, DestinationKey
from event_router.schemas.record import Place, Record

A, B = DestinationKey("acme", "a"), DestinationKey("acme", "b")


def waiting(key: DestinationKey, number: int, since: float = 0.0, size: int = 1) -> Waiting:
    origin = Place("events", 0, number, 1)
    head = DeliveryHead(*key[:1], f"e{number}", key.destination, origin, "t", "now", "test", 1)
    record = Record("deliveries", number % 4, number, 1, None, b"", ())
    return Waiting(Delivery(head, b"x" * size), since, record)


def events(taken: list[Waiting]) -> list[str]:
    return [one.delivery.head.event for one in taken]


def test_each_destination_is_served_in_order_and_in_turn() -> None:
    line = WaitingLine()
    assert all(line.add(waiting(key, number)) for number in range(3) for key in (A, B))
    assert list(line) == [A, B]
    assert events(line.take(A, 2)) == ["e0", "e1"]
    assert list(line) == [B, A], "who was served goes behind the others"
    assert events(line.take(A, 5)) == ["e2"]
    assert A not in line
    assert len(line) == 3


def test_a_full_line_takes_nothing_more_and_leaves_room_to_others() -> None:
    line = WaitingLine(each=2, most=3)
    assert [line.add(waiting(A, number)) for number in range(3)] == [True, True, False]
    assert [line.add(waiting(B, number)) for number in range(2)] == [True, False]


def test_the_line_is_bounded_in_bytes() -> None:
    line = WaitingLine(most_bytes=100)
    assert line.add(waiting(A, 0, size=60))
    assert not line.add(waiting(B, 1, size=60))
    line.take(A, 1)
    assert line.add(waiting(B, 1, size=60))


def test_what_has_waited_too_long_comes_out_and_the_rest_stays_in_order() -> None:
    line = WaitingLine()
    for number in range(4):
        line.add(waiting(A, number, since=float(number)))
    assert events(line.since_before(2.0)) == ["e0", "e1"]
    assert events(line.take(A, 9)) == ["e2", "e3"]
    assert len(line) == 0


def test_partitions_that_go_take_what_is_theirs_out_of_the_line() -> None:
    line = WaitingLine()
    for number in range(8):
        line.add(waiting(A if number % 2 else B, number))
    assert sorted(events(line.of_partitions({0, 1}))) == ["e0", "e1", "e4", "e5"]
    assert events(line.take(A, 9)) == ["e3", "e7"]
