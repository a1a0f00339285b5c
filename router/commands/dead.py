"""`router dead list|show|replay`: what was given up, from a shell."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from rich.table import Table
from rich.text import Text

from event_router.consumers.health import Health
from event_router.router.adapters import find_topics, open_producer
from event_router.router.clock import now_ms
from event_router.router.hops.replay import Replay, Replayed
from event_router.router.settings import read_settings
from event_router.router.store.log import SqlLog
from event_router.router.store.log_ports import DeadFilter, LoggedDead
from event_router.router.store.paging import Paging
from event_router.schemas.attempt import Dead
from event_router.schemas.decode import rfc3339
from event_router.schemas.errors import InvalidValue

MOST = 1_000_000
_ACTING = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]")


async def table_of_dead(wanted: DeadFilter, limit: int) -> Table:
    """The newest first."""
    async with _log() as log:
        return as_table((await log.dead(wanted, Paging(limit))).models)


def as_table(dead: Iterable[LoggedDead]) -> Table:
    """Places, which `show` and `replay` take, stay whole in narrow terminals, too."""
    table = Table(box=None)
    table.add_column("place", no_wrap=True)
    for column in ("time", "reason", "tenant", "event", "destination", "replayed"):
        table.add_column(column, overflow="fold")
    for one in dead:
        replayed = "" if one.replayed_at is None else rfc3339(one.replayed_at)
        told = (one.tenant or "", one.event or "", one.destination)
        row = (one.place, rfc3339(one.at), one.reason, *told, replayed)
        table.add_row(*map(Text, row))  # what people named things is no markup
    return table


async def text_of_dead(place: str, destination: str) -> str:
    """As `as_text`. Raises InvalidValue when it isn't in the log."""
    return as_text(await _found(place, destination))


def as_text(dead: Dead) -> str:
    """Why, its headers and its content; what would act on a terminal is escaped."""
    lines = [f"{dead.head.reason}: {dead.head.detail}", f"time: {rfc3339(dead.head.at)}"]
    lines += [f"{name}: {_text(value)}" for name, value in dead.head.headers]
    lines += [f"key: {_text(dead.key)}", "", _text(dead.value)]
    return _ACTING.sub(lambda found: f"\\x{ord(found[0]):02x}", "\n".join(lines))


async def _found(place: str, destination: str) -> Dead:
    async with _log() as log:
        wanted = DeadFilter(places=(place,), destinations=(destination,) * bool(destination))
        for one in (await log.dead(wanted, Paging(1))).models:
            record = await log.dead_record(one.place, one.destination)
            if record is not None:
                return record
    raise InvalidValue("place", place, "in the log: see `router dead list`")


async def replay_dead(wanted: DeadFilter) -> Replayed:
    settings = read_settings()
    topics = await find_topics(settings)
    producer = open_producer(settings, topics, Health())
    try:
        async with _log() as log:
            return await Replay(topics, log, producer, now_ms)(wanted, MOST)
    finally:
        await producer.aclose()


@asynccontextmanager
async def _log() -> AsyncIterator[SqlLog]:
    log = SqlLog(read_settings().log_url)
    try:
        yield log
    finally:
        await log.aclose()


def _text(value: bytes | None) -> str:
    return "null" if value is None else value.decode(errors="backslashreplace")
