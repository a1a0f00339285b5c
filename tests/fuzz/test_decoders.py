"""Whatever lies in a topic: it is read, or it is undecodable, and what was read can be kept."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_router.consumers.health import Health
from event_router.consumers.log_rows import LogRows
from event_router.consumers.log_writer import LogWriter
from event_router.router.store.log import SqlLog
from event_router.router.store.log_ports import AttemptFilter, DeadFilter, EventFilter
from event_router.router.store.migrate import migrate
from event_router.router.store.paging import Paging
from event_router.schemas.attempt import Attempt
from event_router.schemas.decode import decode_event
from event_router.schemas.errors import Unavailable, Undecodable, UnknownVersion
from event_router.schemas.record import Record
from event_router.schemas.wire import (
    attempt_message,
    dead_message,
    delivery_message,
    pack,
    read_dead,
    read_delivery,
    read_outcome,
    unpack,
)
from tests.fuzz.hostile import spoilt_events, spoilt_heads
from tests.store.history import TOPICS

READERS: dict[str, Callable[[Record], object]] = {
    TOPICS.events: decode_event,
    TOPICS.deliveries: read_delivery,
    TOPICS.attempts: read_outcome,
    TOPICS.dead: read_dead,
}
ANY = st.one_of(spoilt_events(), spoilt_heads())


def _decoded(record: Record) -> object | None:
    try:
        return READERS[record.topic](record)
    except (Undecodable, UnknownVersion):
        return None


@settings(max_examples=800)
@given(record=ANY)
def test_every_record_is_read_or_undecodable(record: Record) -> None:
    assert _decoded(record) == _decoded(record)


@settings(max_examples=200)
@given(record=spoilt_heads())
def test_a_head_that_was_read_can_be_written_and_read_again(record: Record) -> None:
    read = _decoded(record)
    if isinstance(read, Attempt):
        message = attempt_message(read, TOPICS)
        assert (
            read_outcome(Record("t", 0, 0, 0, message.key, message.value, message.headers)) == read
        )
    elif record.topic == TOPICS.deliveries and read is not None:
        delivery = read_delivery(record)
        assert unpack(pack(delivery)) == delivery
        assert delivery_message(delivery, TOPICS).value == delivery.data
    elif record.topic == TOPICS.dead and read is not None:
        message = dead_message(read_dead(record), TOPICS)
        assert read_dead(Record("t", 0, 0, 0, message.key, message.value, message.headers)) == read


class Impatient:
    """A store that fails at once where the writer would try for ever."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    async def write(self, rows: LogRows) -> None:
        try:
            await self._log.write(rows)
        except Unavailable as error:
            raise AssertionError(str(error)) from error


class Log:
    """A log in SQL with a loop of its own, for tests that aren't coroutines."""

    def __init__(self, url: str) -> None:
        migrate(url, "log")
        self._runner = asyncio.Runner()
        self.log = SqlLog(url)
        self.writer = LogWriter(TOPICS, Impatient(self.log), Health())

    def take(self, records: list[Record]) -> None:
        """Writes them, and asks everything that reads rows."""
        self._runner.run(self._take(records))

    async def _take(self, records: list[Record]) -> None:
        async with asyncio.timeout(10):
            await self.writer.write(records)
            await self.log.events(EventFilter(), Paging(50))
            await self.log.attempts(AttemptFilter(), Paging(50), with_events=True)
            for dead in (await self.log.dead(DeadFilter(), Paging(50))).models:
                await self.log.dead_record(dead.place, dead.destination)
            await self.log.unsettled(2**63 - 1, 50)

    def close(self) -> None:
        self._runner.run(self.log.aclose())
        self._runner.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    url = f"sqlite:///{tmp_path}/log.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    log = Log(url)
    logging.disable(logging.ERROR)
    yield log
    logging.disable(logging.NOTSET)
    log.close()


def test_whatever_was_read_the_log_takes_and_shows(log: Log) -> None:
    @settings(max_examples=60)
    @given(records=st.lists(ANY, max_size=8))
    def check(records: list[Record]) -> None:
        log.take([one for one in records if _decoded(one) is not None])

    check()
