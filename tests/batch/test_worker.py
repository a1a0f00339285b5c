"""Jobs from their upload to the topic, over ports in memory."""

import asyncio
import json
import uuid as uuids
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from event_router.consumers.memory import MemoryBroker
from event_router.consumers.ports import Producer
from event_router.router.batch.row_events import generated_id
from event_router.router.batch.worker import Worker
from event_router.router.clock import now_ms
from event_router.router.store.job_ports import Job
from event_router.schemas.columns import Column, ColumnType, EventSchema
from event_router.schemas.errors import TooLarge
from event_router.schemas.record import Message, Place
from tests.batch.world import BINDING, START, TENANT, TOPIC, BatchWorld
from tests.waiting import until

ENDED = ("SUCCESS", "FAILURE", "REVOKED")


@pytest.fixture
async def world(tmp_path: Path) -> BatchWorld:
    made = BatchWorld(tmp_path)
    await made.registry.upsert_tenant(TENANT, None)
    return made


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


async def ended(world: BatchWorld, uuid: str, worker: Worker | None = None) -> Job:
    async with working(worker or world.worker()):
        return await status(world, uuid, *ENDED)


async def status(world: BatchWorld, uuid: str, *wanted: str) -> Job:
    """The job, once it has one of these."""
    async with asyncio.timeout(20):
        while (job := await world.found(uuid)).status not in wanted:
            await asyncio.sleep(0.005)
    return job


def rows(count: int, **more: object) -> str:
    return "".join(json.dumps({"n": number, **more}) + "\n" for number in range(count))


async def test_every_row_is_an_event_with_an_id_of_the_job_and_its_number(
    world: BatchWorld,
) -> None:
    stored = await world.upload(rows(2_345), "rows.jsonl")
    uuid = await world.job(stored)
    job = await ended(world, uuid)
    assert (job.status, job.progress.accepted, job.progress.done) == ("SUCCESS", 2_345, 2_345)
    by_id = {event.id: event for event in world.events()}
    assert len(by_id) == 2_345
    for number in (1, 1_000, 1_001, 2_345):
        event = by_id[str(uuids.uuid5(uuids.UUID(uuid), str(number)))]
        assert json.loads(event.data) == {"n": number - 1}
        assert (event.tenant, event.topic, event.deduplicate) == (TENANT, TOPIC, False)
        assert event.time == "2027-01-15T08:00:00.000Z"


async def test_rows_spread_over_the_partitions(world: BatchWorld) -> None:
    stored = await world.upload(rows(4_000), "rows.jsonl")
    await ended(world, await world.job(stored))
    assert [len(log) for log in world.broker.logs.values()] == [1_000] * 4


async def test_the_fields_that_were_named_are_used(world: BatchWorld) -> None:
    text = "id,at,group,n\na,1700000000,g1,1\nb,2023-11-14 22:13:20,g1,2\n7,,g2,3\n"
    uuid = await world.job(
        await world.upload(text), id_field="id", timestamp_field="at", group_by="group"
    )
    await ended(world, uuid)
    events = {event.id: event for event in world.events()}
    assert set(events) == {"a", "b", "7"}
    assert events["a"].time == events["b"].time == "2023-11-14T22:13:20.000Z"
    assert events["7"].time == "2027-01-15T08:00:00.000Z"
    assert events["a"].partition_key == "g1"
    assert events["a"].deduplicate
    assert events["a"].origin.partition == events["b"].origin.partition
    assert json.loads(events["7"].data) == {"id": "7", "at": None, "group": "g2", "n": 3}


async def test_refused_rows_are_listed_and_the_others_go_on(world: BatchWorld) -> None:
    lines = ['{"id":"a"}', "no", '{"id":""}', '{"x":1}', '{"id":true}', '{"id":"b","at":"noon"}']
    lines.append('{"id":"c","pad":"' + "x" * 9_970 + '"}')
    lines.append('{"id":"z"}')
    uuid = await world.job(
        await world.upload("\n".join(lines), "rows.jsonl"), id_field="id", timestamp_field="at"
    )
    world.broker.max_message_bytes = 9_000
    job = await ended(world, uuid)
    assert job.status == "SUCCESS"
    assert (job.progress.accepted, job.progress.refused) == (2, 6)
    reasons = {remark.row: remark.reason for remark in job.remarks.refusals}
    assert set(reasons) == {2, 3, 4, 5, 6, 7}
    assert reasons[2].startswith("not JSON")
    assert reasons[4] == "id: None is not a text or a whole number"
    assert reasons[6].startswith("at: 'noon' is not a time")
    assert reasons[7].startswith("message_too_large")


@pytest.mark.parametrize(
    ("name", "content", "options", "reason"),
    [
        ("rows.csv", "a,b\n", {}, "empty"),
        ("rows.csv", "a,b\n1,2\n", {"id_field": "c"}, "missing_column"),
        ("rows.csv", "a,b\n1,2\n", {"group_by": "c"}, "missing_column"),
        ("rows.pkl", "a,b\n1,2\n", {}, "unreadable"),
        ("rows.parquet", "PAR1", {}, "unreadable"),
        ("rows.csv", "a,b\n1\n", {}, "nothing_accepted"),
    ],
)
async def test_a_batch_that_is_rejected_publishes_nothing(
    world: BatchWorld, name: str, content: str, options: dict[str, str], reason: str
) -> None:
    good = await world.upload("a,b,c\n1,2,3\n") if reason != "nothing_accepted" else None
    bad = await world.upload(content, name)
    stored = (good, bad) if good and reason != "empty" else (bad,)
    uuid = await world.job(*stored, **options)
    job = await ended(world, uuid)
    assert (job.status, job.error_reason) == ("FAILURE", reason)
    assert job.error_message
    assert world.events() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [("a,b\n1,2\n", "rows.csv has no column 'c'"), ("a,a\n1,2\n", "rows.csv: the first line must")],
)
async def test_a_rejected_file_is_called_what_people_call_it(
    world: BatchWorld, content: str, said: str
) -> None:
    stored = await world.upload(content, "rows.csv")
    job = await ended(world, await world.job(stored, id_field="c"))
    assert (job.error_message or "").startswith(said)


async def test_the_files_of_a_job_that_ended_are_gone(world: BatchWorld) -> None:
    for content in ("a\n1\n", ""):
        stored = await world.upload(content)
        await ended(world, await world.job(stored))
        assert not [path for path in world.folder.rglob("*") if path.is_file()]


async def test_ids_that_people_chose_are_taken_once(world: BatchWorld) -> None:
    first = await world.upload('{"id":"a","v":1}\n{"id":"b","v":1}\n{"id":"a","v":1}', "1.jsonl")
    job = await ended(world, await world.job(first, id_field="id"))
    assert (job.progress.accepted, job.progress.duplicates) == (2, 1)

    second = await world.upload('{"id":"a","v":1}\n{"id":"b","v":2}\n{"id":"c","v":1}', "2.jsonl")
    job = await ended(world, await world.job(second, id_field="id"))
    progress = job.progress
    assert (progress.accepted, progress.duplicates, progress.refused) == (1, 1, 1)
    [refusal] = job.remarks.refusals
    assert (refusal.row, "update_event" in refusal.reason) == (2, True)
    assert sorted(event.id for event in world.events()) == ["a", "b", "c"]

    again = await world.upload('{"id":"a","v":1}', "3.jsonl")
    job = await ended(world, await world.job(again, id_field="id"))
    assert (job.status, job.progress.duplicates) == ("SUCCESS", 1)


async def test_what_the_schema_says_is_done_and_recorded(world: BatchWorld) -> None:
    columns = (
        Column("zip", ColumnType.STRING),
        Column("amount", ColumnType.FLOAT, nullable=False, minimum=0),
    )
    await world.registry.schemas.put(TENANT, TOPIC, EventSchema(columns))
    stored = await world.upload("zip,amount,more\n1234,5,x\n99,-5,y\n,,z\n")
    job = await ended(world, await world.job(stored))
    assert (job.progress.accepted, job.progress.violations) == (3, 2)
    assert job.progress.dropped == {"more": 3}
    assert json.loads(world.events()[0].data) == {"zip": "1234", "amount": 5}
    assert [(one.row, one.reason) for one in job.remarks.violations] == [
        (2, "amount: -5 is less than 0"),
        (3, "amount: a value is required"),
    ]
    found = await world.registry.schemas.violations(TENANT, TOPIC)
    assert {(one.field, one.kind, one.count) for one in found} == {
        ("amount", "missing", 1),
        ("amount", "range", 1),
    }


async def test_a_schema_that_rejects_refuses_the_rows(world: BatchWorld) -> None:
    columns = (Column("amount", ColumnType.FLOAT, nullable=False, minimum=0),)
    await world.registry.schemas.put(TENANT, TOPIC, EventSchema(columns, "reject"))
    stored = await world.upload("amount\n1\n-5\n")
    job = await ended(world, await world.job(stored))
    assert (job.progress.accepted, job.progress.refused) == (1, 1)
    assert "less than 0" in job.remarks.refusals[0].reason


class DyingProducer:
    """Writes what it is sent, and after so many lists never answers again, as a process that is
    killed. Every second time the list it dies with is written."""

    def __init__(self, broker: MemoryBroker, lists: int, *, writes_the_last: bool) -> None:
        self._broker = broker
        self._left = lists
        self._writes_the_last = writes_the_last
        self.dead = asyncio.Event()

    async def send(
        self, messages: Sequence[Message], deadline: float | None = None
    ) -> list[Place | TooLarge]:
        await asyncio.sleep(0)
        self._left -= 1
        if self._left < 0:
            if self._writes_the_last:
                await self._broker.send(messages)
            self.dead.set()
            await asyncio.Event().wait()
        return await self._broker.send(messages)

    async def aclose(self) -> None:
        """Nothing is held open."""


async def killed_after(world: BatchWorld, lists: int, *, writes_the_last: bool) -> None:
    """A worker begins, and dies; then its lease runs out."""
    producer: Producer = DyingProducer(world.broker, lists, writes_the_last=writes_the_last)
    assert isinstance(producer, DyingProducer)
    task = asyncio.create_task(world.worker(producer).run(asyncio.Event()))
    async with asyncio.timeout(20):
        await producer.dead.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.pass_time(60_000)


@pytest.mark.parametrize("id_field", [None, "n"])
@pytest.mark.parametrize("group_by", [None, "g"])
async def test_a_job_that_is_killed_again_and_again_publishes_each_row_once(
    world: BatchWorld, id_field: str | None, group_by: str | None
) -> None:
    stored = await world.upload(rows(25_000, g="a"), "rows.jsonl")
    uuid = await world.job(stored, id_field=id_field, group_by=group_by)
    for lists in (0, 3, 1, 4):
        await killed_after(world, lists, writes_the_last=lists % 2 == 1)
        assert (await world.found(uuid)).status == "STARTED"
    job = await ended(world, uuid)
    ids = [event.id for event in world.events()]
    assert len(ids) == len(set(ids)) == 25_000
    assert (job.status, job.progress.accepted) == ("SUCCESS", 25_000)
    assert (job.progress.duplicates, job.progress.refused) == (0, 0)


async def test_a_worker_that_stops_leaves_the_job_to_others_at_once(world: BatchWorld) -> None:
    stored = await world.upload(rows(30_000), "rows.jsonl")
    uuid = await world.job(stored)
    async with working(world.worker()):
        await until(lambda: len(world.broker.records("events")) > 2_000)
    job = await world.found(uuid)
    assert (job.status, job.lease_until) == ("STARTED", 0)
    assert job.progress.clean
    assert job.progress.done == len(world.broker.records("events")) < 30_000
    assert (await ended(world, uuid)).progress.accepted == 30_000
    assert len({event.id for event in world.events()}) == len(world.events()) == 30_000


async def test_a_cancelled_job_stops(world: BatchWorld) -> None:
    uuid = await world.job(await world.upload(rows(200_000), "rows.jsonl"))
    async with working(world.worker(lease=0.2)):
        await until(lambda: len(world.broker.records("events")) > 2_000)
        await world.jobs.cancel(uuid, START)
        await status(world, uuid, "REVOKED")
    job = await world.found(uuid)
    assert job.progress.done == len(world.broker.records("events")) < 200_000


async def test_a_cancelled_job_stops_when_kafka_does_not_answer(world: BatchWorld) -> None:
    uuid = await world.job(await world.upload(rows(10), "rows.jsonl"))
    producer = DyingProducer(world.broker, 0, writes_the_last=False)
    async with working(world.worker(producer, lease=0.2, drain=0.1)):
        await producer.dead.wait()
        await world.jobs.cancel(uuid, START)
        await status(world, uuid, "REVOKED")


async def test_a_job_whose_turn_is_over_gives_way(tmp_path: Path) -> None:
    world = BatchWorld(tmp_path, clock=now_ms)
    long = await world.job(await world.upload(rows(200_000), "rows.jsonl"))
    await asyncio.sleep(0.002)
    short = await world.job(await world.upload(rows(1), "rows.jsonl"))
    worker = world.worker(lease=0.2, turn=0.0)
    async with working(worker):
        await status(world, short, "SUCCESS")
        assert (await world.found(long)).status == "STARTED"


async def test_a_lost_lease_ends_the_work(world: BatchWorld) -> None:
    uuid = await world.job(await world.upload(rows(10), "rows.jsonl"))
    producer = DyingProducer(world.broker, 0, writes_the_last=False)
    async with working(world.worker(producer, lease=0.2)):
        await producer.dead.wait()
        world.pass_time(60_000)
        job = await ended(world, uuid)
        assert job.status == "SUCCESS"
    assert len(world.events()) == 10


async def test_a_file_that_is_gone_halfway_refuses_the_rest(world: BatchWorld) -> None:
    first, second = [await world.upload(rows(1_500), "rows.jsonl") for _ in range(2)]
    uuid = await world.job(first, second)
    await killed_after(world, 1, writes_the_last=True)
    world.uploads.remove(BINDING, second)
    job = await ended(world, uuid)
    assert (job.status, job.progress.accepted, job.progress.refused) == ("SUCCESS", 1_500, 1_500)
    assert "1500 rows from here on" in job.remarks.refusals[0].reason


def test_the_id_of_a_row_is_a_uuid5() -> None:
    job = uuids.uuid4()
    for number in range(1, 200):
        assert generated_id(job.bytes, number) == str(uuids.uuid5(job, str(number)))


async def test_a_dry_run_reports_and_publishes_nothing(world: BatchWorld) -> None:
    columns = (
        Column("id", ColumnType.STRING),
        Column("amount", ColumnType.FLOAT, nullable=False, minimum=0),
    )
    await world.registry.schemas.put(TENANT, TOPIC, EventSchema(columns))
    stored = await world.upload("id,amount,more\na,5,x\nb,-5,y\nc,-6,z\n,7,z\nd\n")
    job = await ended(world, await world.job(stored, id_field="id", dry_run=True))
    assert (job.status, world.events()) == ("SUCCESS", [])
    assert [(line.type, line.field, line.rows) for line in job.remarks.report] == [
        ("fatal", "row", 1),
        ("fatal", "row", 1),
        ("warning", "more", 4),
        ("warning", "amount", 2),
    ]
    assert await world.registry.schemas.violations(TENANT, TOPIC) == []
    assert (job.progress.accepted, job.progress.refused) == (3, 2)
