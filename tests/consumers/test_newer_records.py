"""What a newer release wrote waits where it lies, and so does what lies behind it."""

from collections.abc import Sequence

import pytest

from event_router.consumers.health import Health
from event_router.consumers.newer_records import NewerRecords
from event_router.schemas.errors import UnknownVersion
from event_router.schemas.record import Record


def record(partition: int, offset: int, value: bytes = b"") -> Record:
    return Record("t", partition, offset, 0, None, value, [])


class Hop:
    """Takes everything but what says `newer`."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []

    async def __call__(self, records: Sequence[Record]) -> None:
        for one in records:
            if one.value == b"newer":
                raise UnknownVersion(2, (one.topic, one.partition, one.offset))
        self.taken += [(one.partition, one.offset) for one in records]


async def test_it_and_what_is_behind_it_wait_and_other_partitions_go_on() -> None:
    health, hop = Health(started=True), Hop()
    newer = NewerRecords(health)
    batch = [record(0, 1), record(1, 1), record(0, 2, b"newer"), record(0, 3), record(1, 2)]
    done = await newer.past(hop, batch)
    assert [(one.partition, one.offset) for one in done] == hop.taken == [(0, 1), (1, 1), (1, 2)]
    assert not health.ready
    assert health.troubles == {
        "t[0]": "its record 2 is of version 2, which this release can't read: upgrade it"
    }
    assert not await newer.past(hop, [record(0, 4)])


async def test_two_in_one_partition_wait_from_the_first_on() -> None:
    newer, hop = NewerRecords(Health()), Hop()
    await newer.past(hop, [record(0, 7, b"newer")])
    await newer.past(hop, [record(0, 5), record(0, 6, b"newer"), record(0, 8)])
    assert hop.taken == [(0, 5)]


async def test_a_partition_that_went_is_begun_anew_when_it_comes_back() -> None:
    health, hop = Health(started=True), Hop()
    newer = NewerRecords(health)
    await newer.past(hop, [record(0, 1, b"newer"), record(1, 1, b"newer")])
    newer.forget([("t", 0)])
    assert list(health.troubles) == ["t[1]"]
    newer.forget()
    assert health.ready
    await newer.past(hop, [record(0, 1)])
    assert hop.taken == [(0, 1)]


async def test_one_that_is_in_no_record_is_the_callers_to_see() -> None:
    async def hop(_: Sequence[Record]) -> None:
        raise UnknownVersion(2)

    with pytest.raises(UnknownVersion):
        await NewerRecords(Health()).past(hop, [record(0, 1)])
