"""Replaying and reordering the four topics gives the same tables, on every database."""

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from event_router.consumers.log_rows import (
    AttemptRow,
    DeadRow,
    DeliveryRow,
    EventRow,
    RoutingRow,
    State,
    merged,
)
from event_router.router.store import tables
from event_router.router.store.log import SqlLog
from event_router.router.store.log_ports import Log
from event_router.router.store.memory_log import MemoryLog
from event_router.router.store.migrate import migrate
from event_router.schemas.attempt import Outcome
from event_router.schemas.delivery import Delivery
from event_router.schemas.record import Record
from tests.store.history import History, next_attempt, write

STATES: tuple[State, ...] = ("queued", "failed", "delivered")
OUTCOMES: tuple[Outcome, ...] = ("delivered", "failed", "failed", "failed", "rejected")


def lived(dice: random.Random, most: int = 3) -> list[Record]:
    """What the hops may write about a few events, crashes and twins included."""
    history = History()
    for index in range(dice.randint(1, most)):
        event = history.event(f"e{dice.randint(0, 1)}", f"t{index % 2}")
        if dice.random() < 0.3:
            history.routed(event, dice.choice(("no_match", "duplicate", "id_conflict")))
        for destination, round_ in itertools.product(("d1", "d2"), range(dice.randint(0, 2))):
            delivery = history.delivery(event, destination, round_)
            if dice.random() < 0.3:  # routed again after a crash: the round began later
                history.delivery(event, destination, round_)
            _attempts(dice, history, delivery)
    if dice.random() < 0.3:
        history.dead_record()
    return history.records


def _attempts(dice: random.Random, history: History, delivery: Delivery) -> None:
    for _ in range(dice.randint(0, 3)):
        for _twin in range(dice.randint(1, 2)):
            outcome = dice.choice(OUTCOMES)
            later = dice.choice((None, 7_000))
            history.now += dice.randint(0, 5)
            history.attempt(delivery, outcome, retry_after=later)
        if dice.random() < 0.2:
            history.dead(delivery, "retries_exhausted")
            if dice.random() < 0.5:
                again = history.records[-1]
                history.dead(delivery, "too_old")
                assert again is not history.records[-1]
        if dice.random() < 0.7:
            delivery = next_attempt(delivery)


def shuffled(dice: random.Random, records: Sequence[Record]) -> list[list[Record]]:
    """The records in another order, some of them more than once, in batches of any size."""
    again = [record for record in records for _ in range(dice.choice((1, 1, 1, 2, 3)))]
    dice.shuffle(again)
    batches = []
    while again:
        size = dice.randint(1, 12)
        batches.append(again[:size])
        again = again[size:]
    return batches


async def in_memory(batches: Sequence[Sequence[Record]]) -> dict[str, list[tuple[Any, ...]]]:
    log = MemoryLog()
    for batch in batches:
        await write(log, batch)
    return log.tables()


async def in_sql(
    log: SqlLog, batches: Sequence[Sequence[Record]]
) -> dict[str, list[tuple[Any, ...]]]:
    """What the tables hold after the batches; they are empty before and afterwards."""
    for batch in batches:
        await write(log, batch)
    kept = {
        "events": EventRow._fields,
        "routings": RoutingRow._fields,
        "deliveries": DeliveryRow._fields,
        "attempts": AttemptRow._fields,
        "dead": DeadRow._fields,
    }

    def read(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
        found = {}
        for name, columns in kept.items():
            table = tables.log.tables[name]
            query = select(*(table.c[column] for column in columns))
            found[name] = sorted((tuple(one) for one in connection.execute(query)), key=repr)
            connection.execute(table.delete())
        return found

    return await log._database.write(read)


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
async def test_any_order_gives_the_same_tables_in_memory(dice: random.Random) -> None:
    records = lived(dice)
    assert await in_memory(shuffled(dice, records)) == await in_memory([records])


@pytest.fixture(params=["sqlite", "postgresql"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlLog]:
    url = f"sqlite:///{tmp_path}/log.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    migrate(url, "log")
    log = SqlLog(url)
    yield log
    await log.aclose()


async def test_any_order_gives_the_same_tables_in_sql(log: SqlLog) -> None:
    for seed in range(40):
        dice = random.Random(seed)
        records = lived(dice)
        batches = shuffled(dice, records)
        expected = await in_memory([records])
        assert await in_sql(log, batches) == expected, f"seed {seed}"
        assert await log.counts() == (0, 0, 0, 0)


async def test_counts_and_what_is_unsettled_are_the_same_in_sql_as_in_memory(log: SqlLog) -> None:
    records = lived(random.Random(4), 40)
    assert len(records) > 50
    memory = MemoryLog()
    stores: list[Log] = [log, memory]
    for store in stores:
        for batch in shuffled(random.Random(1), records):
            await write(store, batch)
    assert await log.counts() == await memory.counts()
    unsettled = await log.unsettled(1 << 50, 1000)
    assert unsettled == await memory.unsettled(1 << 50, 1000)
    assert unsettled


@given(st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_merging_rows_does_not_ask_which_came_first(dice: random.Random) -> None:
    def row() -> DeliveryRow:
        small = [dice.randint(0, 2) for _ in range(5)]
        far = small[0] << 8
        state = STATES[small[0]]
        places = str(small[3]), str(small[4])
        return DeliveryRow(
            "o", "d", 0, "t", "e", state, far, small[0], False, True, small[1], small[2], *places
        )

    one, two, three = row(), row(), row()
    assert merged(one, two) == merged(two, one)
    assert merged(merged(one, two), three) == merged(one, merged(two, three))
    assert merged(one, one) == one
