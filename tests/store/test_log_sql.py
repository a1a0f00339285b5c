"""What is particular to the log in SQL: which indexes it uses, what happens when it is locked."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from event_router.consumers.log_rows import DeliveryRow, LogRows, queued
from event_router.router.store.log import SqlLog
from event_router.router.store.log_ports import AttemptFilter, DeliveryRef, EventFilter
from event_router.router.store.migrate import migrate
from event_router.router.store.paging import Paging
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import Unavailable
from tests import services
from tests.store.history import History, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[SqlLog]:
    migrate(f"sqlite:///{path}", "log")
    log = SqlLog(f"sqlite:///{path}")
    yield log
    await log.aclose()


@pytest.fixture
async def plans(log: SqlLog) -> list[str]:
    """The steps of SQLite's plan of each query that the log makes in the test."""
    steps: list[str] = []
    explaining = False

    def explain(
        connection: Connection, _cursor: object, sql: str, values: object, *_: object
    ) -> None:
        nonlocal explaining
        if explaining or not sql.startswith("SELECT"):
            return
        explaining = True
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)  # type: ignore[arg-type]  # as the driver got them
        steps.extend(row[3] for row in found)
        explaining = False

    event.listen(log._database.engine, "before_cursor_execute", explain)
    return steps


async def _page(log: SqlLog, wanted: EventFilter | AttemptFilter, paging: Paging) -> str | None:
    if isinstance(wanted, EventFilter):
        return (await log.events(wanted, paging)).next
    return (await log.attempts(wanted, paging)).next


LISTS: dict[str, EventFilter | AttemptFilter] = {
    "events_by_time": EventFilter(),
    "events_by_tenant": EventFilter(tenants=("acme",)),
    "events_by_id": EventFilter(ids=("e1",)),
    "attempts_by_time": AttemptFilter(),
    "attempts_by_tenant": AttemptFilter(tenants=("acme",)),
    "attempts_by_destination": AttemptFilter(tenants=("acme",), destinations=("d1",)),
    "attempts_by_origin": AttemptFilter(events=("e1",)),
}


@pytest.mark.parametrize("index", LISTS)
async def test_no_list_reads_a_whole_table(log: SqlLog, plans: list[str], index: str) -> None:
    history = History()
    for number in range(4):
        history.attempt(history.delivery(history.event(f"e{number}")))
    await write(log, history.records)
    wanted = LISTS[index]
    for paging in (Paging(2), Paging(2, descending=False)):
        first = await _page(log, wanted, paging)
        if first is not None:
            await _page(log, wanted, Paging(2, paging.descending, next=first))
    used = " | ".join(plans)
    assert index in used
    assert not {"SCAN events", "SCAN deliveries", "SCAN attempts", "SCAN routings"} & set(plans), (
        used
    )


async def test_sweep_and_counts_read_only_what_is_unsettled(log: SqlLog, plans: list[str]) -> None:
    await log.unsettled(1, 10)
    await log.counts()
    await log.unsettled(1, 10, None)
    used = " | ".join(plans)
    assert "deliveries_unsettled" in used
    assert "deliveries_superseding" in used
    scans = {step for step in plans if step.startswith("SCAN") and "INDEX" not in step}
    assert scans <= {"SCAN delivery_counts", "SCAN page"}, used


async def test_what_is_unsettled_is_found_without_reading_what_is_passed_over(
    log: SqlLog, plans: list[str]
) -> None:
    after = DeliveryRef(1, "events:0:1:1", "d1", 0)
    to = DestinationKey("acme", "d1")
    for index, chosen in (
        ("deliveries_unsettled_to (destination=? AND tenant=? AND (next_at", {"only": to}),
        ("deliveries_unsettled ((next_at", {"without": {to}}),
    ):
        plans.clear()
        await log.unsettled(5, 10, after, **chosen)
        used = " | ".join(plans)
        assert f"SEARCH deliveries USING COVERING INDEX {index}" in used
        assert "SCAN deliveries" not in used


async def test_writers_wait_for_one_another(log: SqlLog, path: Path) -> None:
    other = SqlLog(f"sqlite:///{path}")
    history = History()
    for number in range(40):
        history.attempt(history.delivery(history.event(f"e{number}")))
    await asyncio.gather(
        *(write(store, history.records) for store in (log, other, log, other, log)),
        *(log.counts() for _ in range(5)),
    )
    await other.aclose()
    assert (await log.counts()).delivered == 40


async def test_a_batch_that_fails_leaves_nothing_behind(log: SqlLog, path: Path) -> None:
    history = History()
    history.delivery(history.event())
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE deliveries RENAME TO gone")
    connection.close()
    task = asyncio.create_task(write(log, history.records))
    await asyncio.sleep(0.2)
    assert (await log._database.read(lambda c: c.execute(text("SELECT * FROM events")).all())) == []
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE gone RENAME TO deliveries")
    connection.close()
    async with asyncio.timeout(10):
        await task
    assert (await log.counts()).waiting == 1


async def test_a_database_without_tables_says_what_to_run(tmp_path: Path) -> None:
    log = SqlLog(f"sqlite:///{tmp_path}/empty.sqlite")
    with pytest.raises(Unavailable, match="router init"):
        await log.counts()
    await log.aclose()


async def test_postgresql_without_tables_says_what_to_run(postgres_url: str) -> None:
    log = SqlLog(postgres_url)
    with pytest.raises(Unavailable, match="router init"):
        await log.counts()
    await log.aclose()


class Captured:
    """Keeps the rows that a writer would have written."""

    def __init__(self) -> None:
        self.rows: list[LogRows] = []

    async def write(self, rows: LogRows) -> None:
        self.rows.append(rows)


async def test_writers_on_postgresql_never_wait_for_each_other_in_a_circle(
    postgres_url: str,
) -> None:
    migrate(postgres_url, "log")
    logs = [SqlLog(postgres_url) for _ in range(3)]
    history = History()
    for number in range(120):
        delivery = history.delivery(history.event(f"e{number}"))
        history.attempt(delivery, "failed")
        history.attempt(delivery, "rejected")
        history.attempt(delivery)
    captured = Captured()
    dice = random.Random(7)
    for _ in range(45):
        await write(captured, dice.sample(history.records, 60))
    await write(captured, history.records)

    async def write_all(log: SqlLog, batches: list[LogRows]) -> None:
        for rows in batches:
            await log.write(rows)  # a deadlock would be Unavailable here

    await asyncio.gather(
        *(write_all(log, captured.rows[first::3]) for first, log in enumerate(logs)),
        *(logs[0].prune(1, 100) for _ in range(5)),
    )
    assert await logs[0].counts() == (0, 0, 0, 120)
    for log in logs:
        await log.aclose()


@pytest.fixture
def own_postgres() -> Iterator[services.Postgres]:
    """A PostgreSQL of the test's own, which may be killed."""
    server = services.own_postgres()
    yield server
    server.kill()


async def test_a_database_that_was_killed_is_unavailable_until_it_is_back(
    own_postgres: services.Postgres,
) -> None:
    url = own_postgres.create_database()
    await asyncio.to_thread(migrate, url, "log")
    log = SqlLog(url)
    history = History()
    history.delivery(history.event())
    await write(log, history.records)
    await asyncio.to_thread(own_postgres.kill)
    with pytest.raises(Unavailable, match="database"):
        await log.counts()
    with pytest.raises(Unavailable, match="database"):
        await log.write(LogRows([], [], [queued_row()], [], []))
    history.delivery(history.event("e2"))
    writing = asyncio.create_task(write(log, history.records))
    await asyncio.to_thread(own_postgres.start)
    async with asyncio.timeout(30):
        await writing
    assert (await log.counts()).waiting == 2
    await log.aclose()


def queued_row() -> DeliveryRow:
    history = History()
    return queued(history.delivery(history.event("unsent")).head, "", 1)
