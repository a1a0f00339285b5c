import uuid

from event_router.schemas.ids import new_id


def test_an_own_id_is_a_uuid_of_version_7() -> None:
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_no_two_own_ids_are_the_same() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_later_own_ids_are_greater_to_the_millisecond() -> None:
    made = [new_id()[:13] for _ in range(10_000)]
    assert made == sorted(made)
    assert made[0] < made[-1]
