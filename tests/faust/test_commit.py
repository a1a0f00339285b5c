"""What the consumer would commit, without a broker: each hazard of plain Faust, against ours."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from event_router.consumers.commits import CommitDelay
from event_router.consumers.health import Health
from event_router.router.settings import Settings
from event_router.router.stream import transport
from event_router.router.stream.app import stream_app
from event_router.router.stream.batch import Batch
from event_router.router.stream.fetch import Fetched
from event_router.router.stream.transport import StreamConsumer
from event_router.schemas.record import Record

PLACE = TP("events", 0)
OTHER = TP("events", 1)


def raw(offset: int, place: TP = PLACE, size: int = 1) -> Any:
    return SimpleNamespace(
        topic=place.topic, partition=place.partition, offset=offset, timestamp=0, key=None,
        value=b"x" * size, headers=(),
    )  # fmt: skip


class Bench:
    """A consumer without its broker: what it hands on, and what it would commit."""

    def __init__(self, folder: Path) -> None:
        async def hop(_: object) -> None:
            raise AssertionError

        self.app = stream_app(
            Settings.model_validate({"data_dir": folder}), "group", {"events": hop}, Health()
        )
        self.app.loop = asyncio.get_running_loop()
        self.consumer: StreamConsumer = self.app.consumer
        self.batches: list[Batch] = []
        self.commits: list[dict[tuple[str, int], int]] = []
        self.taken = True
        self.next: dict[TP, int] = {}
        self.consumer.callback = self._called
        self.consumer._commit = self._committed
        thread: Any = self.consumer._thread
        thread.next_fetch = self.next.get
        thread.news = asyncio.Event()
        thread.holding = False
        self.assign(1)

    def assign(self, generation: int, *places: TP) -> None:
        self.app.consumer_generation_id = generation
        self.consumer.marks.assign(places or (PLACE,))
        self.consumer.resume_flow()

    async def _called(self, message: Any) -> None:
        assert message.generation_id == self.app.consumer_generation_id
        self.batches.append(message.value)

    async def _committed(self, offsets: Mapping[Any, int]) -> bool:
        self.commits.append(dict(offsets))
        return self.taken

    async def fetch(self, *offsets: int, place: TP = PLACE, size: int = 1) -> list[Record]:
        """Reads these, and takes them as the agent does."""
        self.next[place] = offsets[-1] + 1
        generation = self.app.consumer_generation_id
        fetched = {place: [raw(offset, place, size) for offset in offsets]}
        await self.consumer._deliver(Fetched(generation, fetched))
        return [record for one in self.batches[-1:] for record in one.take()]

    async def commit(self) -> dict[tuple[str, int], int]:
        self.commits.clear()
        await self.consumer.commit()
        return self.commits[0] if self.commits else {}


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_h1_nothing_moves_past_the_first_unfinished_offset(bench: Bench) -> None:
    bench.consumer.finished(await bench.fetch(9))
    assert await bench.commit() == {PLACE: 10}
    await bench.fetch(10)
    bench.consumer.finished(await bench.fetch(11, 12))
    assert await bench.commit() == {}


async def test_h2_nor_at_the_start_of_a_partition(bench: Bench) -> None:
    await bench.fetch(0, 1, 2, 3, 4)
    bench.consumer.finished(await bench.fetch(5, 6))
    assert await bench.commit() == {PLACE: 0}


async def test_h3_a_gap_before_an_unfinished_record_is_passed_and_the_record_is_not(
    bench: Bench,
) -> None:
    bench.consumer.finished(await bench.fetch(14, 15))
    await bench.fetch(20)
    bench.consumer.finished(await bench.fetch(21))
    assert await bench.commit() == {PLACE: 20}


async def test_h4_what_is_finished_is_committed_before_the_partitions_go(bench: Bench) -> None:
    first = await bench.fetch(0, 1)
    bench.consumer.finished(first)
    await bench.fetch(2)
    await bench.consumer._let_go()
    assert bench.commits == [{PLACE: 2}]


async def test_h5_acknowledgements_of_faust_count_for_nothing(bench: Bench) -> None:
    await bench.fetch(0)
    message = transport._message(bench.batches[0], Record("events", 0, 0, 0, None, b"", ()), 1)
    assert bench.consumer.ack(message) is False
    assert await bench.commit() == {PLACE: 0}


async def test_h6_what_never_ends_is_cancelled_when_the_time_to_drain_is_over(
    bench: Bench,
) -> None:
    object.__setattr__(bench.consumer.reading, "drain", 0.01)
    task = bench.consumer.in_flight.start("stuck", asyncio.sleep(3600))
    await bench.consumer._let_go()
    assert task.cancelled()


async def test_records_of_a_former_generation_move_no_offset(bench: Bench) -> None:
    late = await bench.fetch(0, 1, 2)
    await bench.consumer._let_go()
    bench.assign(2)
    await bench.fetch(0, 1, 2)
    bench.consumer.finished(late)
    assert await bench.commit() == {PLACE: 0}


async def test_offsets_that_hold_no_records_are_passed_when_all_is_finished(bench: Bench) -> None:
    bench.consumer.finished(await bench.fetch(0))
    bench.next[PLACE] = 4  # markers of transactions
    assert await bench.commit() == {PLACE: 4}
    await bench.fetch(4)
    bench.next[PLACE] = 9
    assert await bench.commit() == {}


async def test_a_recreated_topic_begins_anew(bench: Bench) -> None:
    old = await bench.fetch(0, 1, 2)
    new = await bench.fetch(0)
    bench.consumer.finished(old)
    assert await bench.commit() == {PLACE: 0}
    bench.consumer.finished(new)
    assert await bench.commit() == {PLACE: 1}
    assert bench.consumer.held() == frozenset()


async def test_a_commit_that_kafka_refuses_is_tried_again(bench: Bench) -> None:
    bench.consumer.finished(await bench.fetch(0))
    bench.taken = False
    assert await bench.commit() == {PLACE: 1}
    bench.taken = True
    assert await bench.commit() == {PLACE: 1}
    assert await bench.commit() == {}


async def test_what_was_finished_but_not_committed_is_not_handed_on_again(bench: Bench) -> None:
    bench.consumer.finished((await bench.fetch(0, 1, 2))[:2])
    bench.taken = False
    await bench.consumer._let_go()
    bench.taken = True
    bench.assign(2)
    again = await bench.fetch(0, 1, 2, 3)
    assert [one.offset for one in again] == [2, 3]
    assert await bench.commit() == {PLACE: 2}


async def test_nothing_is_read_while_nothing_can_be_committed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CommitDelay, "PATIENCE", 0.0)
    bench.consumer.finished(await bench.fetch(0))
    bench.taken = False
    await bench.commit()
    assert bench.consumer.held() == {PLACE}
    bench.taken = True
    await bench.commit()
    assert bench.consumer.held() == frozenset()


async def test_lists_that_wait_are_merged_across_partitions_until_they_are_taken(
    bench: Bench,
) -> None:
    bench.assign(1, PLACE, OTHER)
    for place, offset in ((PLACE, 0), (OTHER, 0), (PLACE, 1)):
        await bench.consumer._deliver(Fetched(1, {place: [raw(offset, place)]}))
    (merged,) = bench.batches
    assert [(one.partition, one.offset) for one in merged.take()] == [(0, 0), (1, 0), (0, 1)]
    assert merged.take() == []
    await bench.fetch(2)
    assert len(bench.batches) == 2


async def test_nothing_is_handed_on_of_what_was_finished_before(bench: Bench) -> None:
    bench.consumer.finished(await bench.fetch(0))
    bench.taken = False
    await bench.consumer._let_go()
    bench.assign(2)
    await bench.consumer._deliver(Fetched(2, {PLACE: [raw(0)]}))
    assert len(bench.batches) == 1


async def test_what_was_queued_is_withdrawn_when_the_partitions_go(bench: Bench) -> None:
    await bench.consumer._deliver(Fetched(1, {PLACE: [raw(0)]}))
    await bench.consumer._let_go()
    assert bench.batches[0].take() == []


async def test_what_was_fetched_is_not_handed_on_once_the_flow_has_stopped(bench: Bench) -> None:
    bench.consumer.stop_flow()
    await bench.consumer._deliver(Fetched(1, {PLACE: [raw(0)]}))
    assert bench.batches == []
    assert await bench.commit() == {PLACE: 0}


async def test_a_partition_is_held_while_its_window_is_as_wide_as_it_may_be(bench: Bench) -> None:
    bench.assign(1, PLACE, OTHER)
    first = await bench.fetch(0)
    bench.consumer.finished(await bench.fetch(bench.consumer.reading.window))
    assert bench.consumer.held() == {PLACE}
    bench.consumer.finished(first)
    assert bench.consumer.held() == frozenset()


async def test_a_topic_is_held_while_it_holds_as_many_bytes_as_it_may(bench: Bench) -> None:
    bench.assign(1, PLACE, OTHER)
    large = await bench.fetch(0, size=bench.consumer.reading.held_bytes)
    assert bench.consumer.held() == {PLACE, OTHER}
    bench.consumer.finished(large)
    assert bench.consumer.held() == frozenset()


async def test_nothing_is_read_again_once_the_consumer_is_closing(bench: Bench) -> None:
    await bench.consumer.finish()
    bench.consumer.resume_flow()
    assert not bench.consumer.flow_active


async def test_outside_of_the_group_nobody_knows_the_lag(bench: Bench, tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path})
    app = stream_app(settings, "another", {}, Health())
    app.loop = asyncio.get_running_loop()
    assert app.consumer.known_lag() is None
    await bench.consumer.finish()
    assert bench.consumer.known_lag() is None
