"""`router dead list|show|replay`: what was given up, from a shell."""

import re
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
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
_COLUMNS = ("place", "time", "reason", "tenant", "event", "destination", "replayed")
_GIVE_WAY = ("replayed", "time", "tenant", "event", "reason")
"""From the first to the last. `place` and `destination`, which name one of the dead, never do."""
_UNBOUNDED = 100_000  # columns

_ACTING = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]")


async def dead_in_log(wanted: DeadFilter, limit: int) -> list[LoggedDead]:
    """The newest first."""
    async with _log() as log:
        return list((await log.dead(wanted, Paging(limit))).models)


def print_dead(dead: Sequence[LoggedDead], console: Console) -> None:
    """A line for each, and nothing is cut: where a terminal has too few columns, those that `show`
    and `replay` don't take give way first, and the last line says which."""
    gone = _giving_way(dead, console) if console.is_terminal else ()
    table = as_table(dead, gone)
    if not console.is_terminal:
        console.width = max(console.width, _width(table, console))
    console.print(table)
    if gone:
        names = ", ".join(sorted(gone, key=_COLUMNS.index))
        told = f"no room for: {names} (`router dead list | cat` shows all)"
        console.print(told, highlight=False, soft_wrap=True)


def _giving_way(dead: Sequence[LoggedDead], console: Console) -> Sequence[str]:
    for count in range(len(_GIVE_WAY)):
        if _width(as_table(dead, _GIVE_WAY[:count]), console) <= console.width:
            return _GIVE_WAY[:count]
    return _GIVE_WAY


def _width(table: Table, console: Console) -> int:
    unbounded = console.options.update(width=_UNBOUNDED)
    return console.measure(table, options=unbounded).maximum


def as_table(dead: Iterable[LoggedDead], without: Collection[str] = ()) -> Table:
    """With all of `_COLUMNS` but those."""
    table = Table(box=None)
    columns = [column for column in _COLUMNS if column not in without]
    for column in columns:
        table.add_column(column, overflow="fold")
    for one in dead:
        row = _row(one)
        # What people named things is no markup.
        table.add_row(*(Text(row[column]) for column in columns))
    return table


def _row(one: LoggedDead) -> dict[str, str]:
    replayed = "" if one.replayed_at is None else rfc3339(one.replayed_at)
    told = (one.tenant or "", one.event or "", one.destination)
    return dict(
        zip(_COLUMNS, (one.place, rfc3339(one.at), one.reason, *told, replayed), strict=True)
    )


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
