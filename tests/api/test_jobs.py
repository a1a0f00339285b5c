from event_router.router.store.job_ports import (
    Ending,
    Examined,
    JobOptions,
    Lease,
    NewJob,
    Progress,
    Remark,
    Remarks,
)
from tests.api.world import START, World

JOB = "0f0e0d0c-0b0a-4908-8706-050403020100"


async def a_job(world: World, uuid: str = JOB, topic: str = "orders") -> None:
    new = NewJob(uuid, "org", "acme", topic, ("rows.csv",), JobOptions(), world.clock())
    await world.jobs.add(new)


async def test_a_job_shows_how_far_it_is_and_what_it_refused(world: World) -> None:
    await a_job(world)
    await world.jobs.claim(Lease("me", START + 9_000), START)
    files = (Examined("csv", gzipped=False, rows=8),)
    progress = Progress(files=files, done=2, accepted=1, refused=1, dropped={"x": 2})
    remarks = Remarks((Remark("rows.csv", 2, "not JSON"),), (Remark("rows.csv", 1, "a: no"),))
    await world.jobs.save(JOB, Lease("me", START + 9_000), progress, remarks)
    job = (await world.client.get(f"jobs/{JOB}")).json()
    assert job == {
        "uuid": JOB,
        "name": "ingest into acme/orders",
        "tenant_id": "acme",
        "topic": "orders",
        "files": ["rows.csv"],
        "status": "STARTED",
        "progress": 25.0,
        "rows": 8,
        "rows_done": 2,
        "accepted": 1,
        "duplicates": 0,
        "refused": 1,
        "violations": 0,
        "dropped_fields": {"x": 2},
        "error": None,
        "error_reason": None,
        "created_at": "2027-01-15T08:00:00.000Z",
        "started_at": "2027-01-15T08:00:00.000Z",
        "finished_at": None,
        "errors": [{"file": "rows.csv", "row": 2, "reason": "not JSON"}],
        "violating_rows": [{"file": "rows.csv", "row": 1, "reason": "a: no"}],
        "report": [],
    }


async def test_a_job_that_failed_says_why(world: World) -> None:
    await a_job(world)
    await world.jobs.claim(Lease("me", START + 9_000), START)
    ending = Ending("FAILURE", START + 1_000, "empty", "the batch has no rows")
    await world.jobs.finish(JOB, "me", ending, Progress(), Remarks())
    job = (await world.client.get(f"jobs/{JOB}")).json()
    assert (job["status"], job["error_reason"]) == ("FAILURE", "empty")
    assert job["error"] == "the batch has no rows"
    assert job["finished_at"] == "2027-01-15T08:00:01.000Z"


async def test_a_job_is_cancelled(world: World) -> None:
    await a_job(world)
    answer = await world.client.post(f"jobs/{JOB}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "REVOKED")
    other = "00000000-0000-4000-8000-000000000000"
    assert (await world.client.post(f"jobs/{other}/cancel")).status_code == 404
    assert (await world.client.get(f"jobs/{other}")).status_code == 404


async def test_jobs_are_listed_a_page_at_a_time(world: World) -> None:
    ids = [f"{number:08}-0b0a-4908-8706-050403020100" for number in range(3)]
    for number, uuid in enumerate(ids):
        world.clock.now += 1
        await a_job(world, uuid, f"topic{number % 2}")
    page = (await world.client.get("jobs", params={"limit": 2})).json()
    assert [job["uuid"] for job in page["models"]] == [ids[2], ids[1]]
    more = {"limit": 2, "next": page["pagination"]["next"]}
    page = (await world.client.get("jobs", params=more)).json()
    assert [job["uuid"] for job in page["models"]] == [ids[0]]
    page = (await world.client.get("jobs", params={"topic": "topic1"})).json()
    assert [job["uuid"] for job in page["models"]] == [ids[1]]
    assert "errors" not in page["models"][0]
