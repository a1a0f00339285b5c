"""The role `jobs` as a process of its own, on a real broker, killed again and again."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from event_router.consumers.kafka.tail import read_tail
from event_router.router.adapters import kafka_config, open_uploads
from event_router.router.commands.init import initialise
from event_router.router.settings import read_settings
from event_router.router.store.job_ports import ENDED, Job, JobOptions, NewJob
from event_router.router.store.jobs import SqlJobs
from event_router.schemas.record import Record
from tests.batch.world import BINDING, ORG, TENANT, TOPIC
from tests.services import Kafka, unique
from tests.system import System, environment

ROWS = 100_000
JOB = "0f0e0d0c-0b0a-4908-8706-050403020100"


@pytest.fixture
async def system(kafka: Kafka, redis_url: str, tmp_path: Path) -> AsyncIterator[System]:
    """Topics and tables are made, and nothing runs."""
    env = environment(kafka.bootstrap, redis_url, tmp_path, NAMESPACE=unique(), JOB_LEASE="3")
    made = System(env, tmp_path, read_settings(env))
    async for _ in initialise(made.settings):
        pass
    yield made
    made.stop()


async def uploaded(system: System, table: pa.Table, **options: Any) -> SqlJobs:
    """A job for the rows of the table waits."""
    path = system.folder / "rows.parquet"
    await asyncio.to_thread(parquet.write_table, table, path, row_group_size=30_000)

    async def body() -> AsyncIterator[bytes]:
        yield await asyncio.to_thread(path.read_bytes)

    stored = await open_uploads(system.settings).put(BINDING, "rows.parquet", body())
    jobs = SqlJobs(system.settings.registry_url)
    await jobs.add(NewJob(JOB, ORG, TENANT, TOPIC, (stored,), JobOptions(**options), 1_000))
    return jobs


async def found(jobs: SqlJobs) -> Job:
    job = await jobs.job(JOB)
    assert job is not None
    return job


async def in_the_topic(system: System) -> list[Record]:
    config, topic = kafka_config(system.settings), system.topics.events
    partitions = range(system.settings.partitions)
    tail = read_tail(config, topic, dict.fromkeys(partitions, 0))
    return [record async for records in tail for record in records]


async def killed_at(system: System, jobs: SqlJobs, rows: int) -> None:
    """The role begins, and is killed when so many more rows are done."""
    before = (await found(jobs)).progress.done
    system.start("jobs")
    try:
        async with asyncio.timeout(90):
            while (await found(jobs)).progress.done < before + rows:
                await asyncio.sleep(random.random() * 0.05)
    finally:
        system.kill("jobs")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("id_field", [None, "order"])
async def test_a_job_that_is_killed_loses_and_doubles_no_row(
    system: System, id_field: str | None
) -> None:
    numbers = range(ROWS if id_field is None else ROWS // 2)
    table = pa.table({"order": [f"o{n}" for n in numbers], "amount": [n * 0.25 for n in numbers]})
    options = {} if id_field is None else {"id_field": id_field}
    jobs = await uploaded(system, table, **options)
    dice = random.Random()
    kills = 0
    while kills < 3 and (await found(jobs)).status not in ENDED:
        await killed_at(system, jobs, dice.randrange(1, len(numbers) // 6))
        kills += 1
    assert kills == 3

    system.start("jobs")
    async with asyncio.timeout(90):
        while (job := await found(jobs)).status not in ENDED:
            await asyncio.sleep(0.05)
    await system.end("jobs")
    await jobs.aclose()
    assert (job.status, job.progress.accepted) == ("SUCCESS", len(numbers))
    assert (job.progress.refused, job.progress.duplicates) == (0, 0)
    ids = Counter(record.header("ce_id") for record in await in_the_topic(system))
    assert len(ids) == len(numbers)
    assert set(ids.values()) == {1}
    if id_field is None:
        wanted = (str(uuid.uuid5(uuid.UUID(JOB), str(row))) for row in range(1, ROWS + 1))
        assert set(ids) == {one.encode() for one in wanted}
