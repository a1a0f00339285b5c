"""`router dead list|show|replay`: what was given up, from a shell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from event_router.consumers.health import Health
from event_router.router.adapters import find_topics, now_ms, open_producer
from event_router.router.replay import Replay, Replayed
from event_router.router.settings import read_settings
from event_router.router.store.log import SqlLog
from event_router.router.store.log_ports import DeadFilter
from event_router.router.store.paging import Paging
from event_router.schemas.attempt import Dead
from event_router.schemas.decode import rfc3339
from event_router.schemas.errors import InvalidValue

app = typer.Typer(help="What was given up: see it, send it again.", no_args_is_help=True)

Tenant = Annotated[list[str] | None, typer.Option("--tenant", help="Only of these tenants.")]
Event = Annotated[list[str] | None, typer.Option("--event", help="Only these events' ids.")]
Destination = Annotated[list[str] | None, typer.Option("--destination", help="Only to these.")]
Reason = Annotated[list[str] | None, typer.Option("--reason", help="Only for these reasons.")]

Texts = list[str] | None

MOST = 1_000_000


@app.command("list")
def list_(
    tenant: Tenant = None,
    event: Event = None,
    destination: Destination = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
) -> None:
    """List the newest, with the place that names each."""
    wanted = _filter(None, tenant, event, destination, reason)

    async def found() -> Table:
        table = Table(box=None)
        for column in ("place", "time", "reason", "tenant", "event", "destination", "replayed"):
            table.add_column(column, overflow="fold")
        async with _log() as log:
            for one in (await log.dead(wanted, Paging(limit))).models:
                replayed = "" if one.replayed_at is None else rfc3339(one.replayed_at)
                told = (one.tenant or "", one.event or "", one.destination)
                table.add_row(one.place, rfc3339(one.at), one.reason, *told, replayed)
        return table

    Console().print(asyncio.run(found()))


@app.command()
def show(
    place: Annotated[str, typer.Argument(help="As `router dead list` says it.")],
    destination: Annotated[str, typer.Option(help="Where several were given up at once.")] = "",
) -> None:
    """Show one: why, its headers and its content."""

    async def found() -> Dead:
        async with _log() as log:
            wanted = DeadFilter(places=(place,), destinations=(destination,) * bool(destination))
            for one in (await log.dead(wanted, Paging(1))).models:
                record = await log.dead_record(one.place, one.destination)
                if record is not None:
                    return record
        raise InvalidValue("place", place, "in the log: see `router dead list`")

    dead = asyncio.run(found())
    typer.echo(f"{dead.head.reason}: {dead.head.detail}\ntime: {rfc3339(dead.head.at)}")
    for name, value in dead.head.headers:
        typer.echo(f"{name}: {_text(value)}")
    typer.echo(f"key: {_text(dead.key)}\n\n{_text(dead.value)}")


@app.command()
def replay(
    place: Annotated[Texts, typer.Argument(help="Those given up there.")] = None,
    tenant: Tenant = None,
    event: Event = None,
    destination: Destination = None,
    reason: Reason = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Send again what matches, once: what was replayed before is left out."""
    wanted = _filter(place, tenant, event, destination, reason)
    if wanted == DeadFilter() and not everything:
        raise InvalidValue("place", "", "given, nor an option that says which; or add --all")
    typer.echo(f"replayed {asyncio.run(_replay(wanted)).replayed}")


async def _replay(wanted: DeadFilter) -> Replayed:
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


def _filter(
    places: Texts, tenants: Texts, events: Texts, destinations: Texts, reasons: Texts
) -> DeadFilter:
    return DeadFilter(
        tenants=tuple(tenants or ()),
        events=tuple(events or ()),
        destinations=tuple(destinations or ()),
        reasons=tuple(reasons or ()),
        places=tuple(places or ()),
    )


def _text(value: bytes | None) -> str:
    return "null" if value is None else value.decode(errors="backslashreplace")
