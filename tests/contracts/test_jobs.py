from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from event_router.router.store.job_ports import (
    LISTED,
    Ending,
    Examined,
    Job,
    JobFilter,
    JobOptions,
    Jobs,
    Lease,
    NewJob,
    Progress,
    Remark,
    Remarks,
)
from event_router.router.store.jobs import SqlJobs
from event_router.router.store.memory_jobs import MemoryJobs
from event_router.router.store.migrate import migrate
from event_router.router.store.paging import Paging

MINE, OTHERS = Lease("me", 2_000), Lease("other", 5_000)
NOTHING = Remarks()
FILES = (Examined("csv", True, 7, ("id", "n"), ("str", "int")),)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Jobs]:
    jobs: Jobs
    if request.param == "memory":
        jobs = MemoryJobs()
    else:
        url = f"sqlite:///{tmp_path}/registry.sqlite"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres_url")
        migrate(url, "registry")
        jobs = SqlJobs(url)
    yield jobs
    await jobs.aclose()


def new_job(uuid: str = "j1", at: int = 1_000, batch: str | None = None, **more: str) -> NewJob:
    options = JobOptions(id_field="id", timestamp_format="infer")
    fields = {"tenant": "acme", "topic": "orders", **more}
    return NewJob(
        uuid=uuid,
        org="org",
        files=(f"{uuid}.csv",),
        options=options,
        created_at=at,
        batch_id=batch,
        **fields,
    )


async def claimed(jobs: Jobs, lease: Lease = MINE, now: int = 1_000) -> Job:
    job = await jobs.claim(lease, now)
    assert job is not None
    return job


async def test_a_job_comes_back_as_it_was_asked_for(jobs: Jobs) -> None:
    made = await jobs.add(new_job(batch="b1"))
    assert await jobs.job("j1") == made
    assert (made.status, made.progress, made.batch_id) == ("PENDING", Progress(), "b1")
    assert made.options == JobOptions(id_field="id", timestamp_format="infer")
    assert made.files == ("j1.csv",)
    assert await jobs.job("j2") is None


async def test_a_batch_is_taken_once(jobs: Jobs) -> None:
    first = await jobs.add(new_job("j1", batch="b1"))
    assert await jobs.add(new_job("j2", batch="b1")) == first
    assert await jobs.of_batch("acme", "orders", "b1") == first
    assert await jobs.of_batch("acme", "orders", "b2") is None
    assert (await jobs.add(new_job("j3", batch="b1", topic="other"))).uuid == "j3"
    assert (await jobs.add(new_job("j4", batch="b1", tenant="other"))).uuid == "j4"
    assert {(await jobs.add(new_job(uuid))).uuid for uuid in ("j5", "j6")} == {"j5", "j6"}


async def test_one_of_several_gets_a_job(jobs: Jobs) -> None:
    await jobs.add(new_job())
    job = await claimed(jobs)
    assert (job.uuid, job.status, job.started_at) == ("j1", "STARTED", 1_000)
    assert await jobs.claim(OTHERS, 1_999) is None


async def test_a_lease_that_ran_out_is_taken_over_with_the_last_checkpoint(jobs: Jobs) -> None:
    await jobs.add(new_job())
    await claimed(jobs)
    progress = Progress(files=FILES, done=5, accepted=4, refused=1, tail={0: 9, 3: 12}, clean=False)
    remark = Remark("j1.csv", 3, "no")
    assert await jobs.save("j1", MINE, progress, Remarks((remark,))) == "held"

    taken = await claimed(jobs, OTHERS, 2_000)
    assert (taken.progress, taken.started_at) == (progress, 1_000)
    assert taken.remarks.refusals == (remark,)
    assert await jobs.save("j1", MINE, Progress(), NOTHING) == "lost"
    assert await jobs.renew("j1", MINE) == "lost"
    assert not await jobs.finish("j1", "me", Ending("SUCCESS", 3_000), Progress(), NOTHING)
    assert not await jobs.release("j1", "me", 3_000)
    found = await jobs.job("j1")
    assert found is not None
    assert found.progress == progress


async def test_a_renewed_lease_lasts(jobs: Jobs) -> None:
    await jobs.add(new_job())
    await claimed(jobs)
    assert await jobs.renew("j1", Lease("me", 9_000)) == "held"
    assert await jobs.claim(OTHERS, 8_999) is None
    assert await jobs.claim(OTHERS, 9_000) is not None


async def test_jobs_take_turns(jobs: Jobs) -> None:
    await jobs.add(new_job("j1", at=1))
    await jobs.add(new_job("j2", at=2))
    assert (await claimed(jobs)).uuid == "j1"
    assert await jobs.others_wait("j1", 1_000)
    assert await jobs.release("j1", "me", 1_001)
    assert (await claimed(jobs)).uuid == "j2"
    assert await jobs.others_wait("j2", 1_000)
    assert (await claimed(jobs, OTHERS)).uuid == "j1"
    assert not await jobs.others_wait("j1", 1_000)


async def test_a_job_that_ended_stays_as_it_is(jobs: Jobs) -> None:
    await jobs.add(new_job())
    await claimed(jobs)
    done = Progress(files=FILES, done=1, refused=1)
    remarks = Remarks((Remark("j1.csv", 1, "why"),))
    ending = Ending("FAILURE", 1_500, "nothing_accepted", "no row was")
    assert await jobs.finish("j1", "me", ending, done, remarks)
    found = await jobs.job("j1")
    assert found is not None
    assert (found.status, found.finished_at, found.lease_until) == ("FAILURE", 1_500, 0)
    assert (found.error_reason, found.error_message) == ("nothing_accepted", "no row was")
    assert (found.progress, found.remarks) == (done, remarks)
    assert await jobs.cancel("j1", 2_000) == found
    assert await jobs.renew("j1", MINE) == "lost"
    assert await jobs.claim(OTHERS, 9_999) is None


async def test_a_waiting_job_is_cancelled_at_once(jobs: Jobs) -> None:
    await jobs.add(new_job())
    cancelled = await jobs.cancel("j1", 1_234)
    assert cancelled is not None
    assert (cancelled.status, cancelled.finished_at) == ("REVOKED", 1_234)
    assert await jobs.claim(MINE, 9_999) is None
    assert await jobs.cancel("j2", 1) is None


async def test_who_works_on_a_cancelled_job_hears_of_it(jobs: Jobs) -> None:
    await jobs.add(new_job())
    await claimed(jobs)
    cancelled = await jobs.cancel("j1", 1_001)
    assert cancelled is not None
    assert cancelled.status == "STARTED"
    assert await jobs.renew("j1", MINE) == "cancelled"
    assert await jobs.save("j1", MINE, Progress(done=1), NOTHING) == "cancelled"
    assert await jobs.finish("j1", "me", Ending("REVOKED", 1_002), Progress(done=2), NOTHING)
    found = await jobs.job("j1")
    assert found is not None
    assert (found.status, found.progress.done) == ("REVOKED", 2)


async def test_a_job_whose_worker_died_is_cancelled_at_once(jobs: Jobs) -> None:
    await jobs.add(new_job())
    await claimed(jobs)
    cancelled = await jobs.cancel("j1", 2_000)
    assert cancelled is not None
    assert cancelled.status == "REVOKED"


async def test_the_first_thousand_remarks_are_kept(jobs: Jobs) -> None:
    await jobs.add(new_job())
    await claimed(jobs)
    for first in range(0, LISTED + 300, 300):
        rows = tuple(Remark("j1.csv", row, "no") for row in range(first, first + 300))
        await jobs.save("j1", MINE, Progress(done=first), Remarks(rows, rows))
    found = await jobs.job("j1")
    assert found is not None
    for listed in (found.remarks.refusals, found.remarks.violations):
        assert [remark.row for remark in listed] == list(range(LISTED))


async def test_jobs_are_listed_by_time_and_by_what_they_are(jobs: Jobs) -> None:
    for number in range(3):
        await jobs.add(new_job(f"j{number}", at=number, topic=f"t{number % 2}"))
    first = await jobs.jobs(JobFilter(), Paging(limit=2))
    assert [job.uuid for job in first.models] == ["j2", "j1"]
    rest = await jobs.jobs(JobFilter(), Paging(limit=2, next=first.next))
    assert [job.uuid for job in rest.models] == ["j0"]
    of_topic = await jobs.jobs(JobFilter(tenants=("acme",), topics=("t1",)), Paging())
    assert [job.uuid for job in of_topic.models] == ["j1"]
    await claimed(jobs)
    started = await jobs.jobs(JobFilter(statuses=("STARTED",)), Paging())
    assert [job.uuid for job in started.models] == ["j0"]
    assert not (await jobs.jobs(JobFilter(tenants=("nobody",)), Paging())).models


async def test_jobs_that_ended_long_ago_are_forgotten(jobs: Jobs) -> None:
    for number, at in enumerate((1_000, 2_000)):
        await jobs.add(new_job(f"j{number}", at=at))
        await jobs.cancel(f"j{number}", at)
    await jobs.add(new_job("j9", at=1))
    assert await jobs.forget(2_000) == 1
    listed = await jobs.jobs(JobFilter(), Paging())
    assert {job.uuid for job in listed.models} == {"j1", "j9"}


async def test_files_are_in_use_until_their_job_has_ended(jobs: Jobs) -> None:
    await jobs.add(new_job("j1"))
    await jobs.add(new_job("j2", at=2_000))
    await jobs.cancel("j2", 1)
    assert await jobs.files_in_use() == {("org", "acme", "orders", "j1.csv")}
