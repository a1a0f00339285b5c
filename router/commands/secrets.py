"""`router secrets status|rotate`: which keys credentials lie under, and bringing them to the first.

Nothing of a key but its name is shown.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from event_router.router.settings import read_settings
from event_router.router.store.database import Database
from event_router.router.store.rotation import Rotation
from event_router.router.store.secrets import Secrets

_REASONS_SHOWN = 5
_NAMED = 20


async def show_status(console: Console | None = None) -> int:
    """Prints a table, and what doesn't open; the exit code: 1 when something doesn't."""
    console = console or Console()
    async with _rotation() as (rotation, secrets):
        _show(await rotation.by_key(), secrets.names, console)
        closed = await rotation.closed()
    for one in closed[:_NAMED]:
        console.print(f"can't be read: {one}", markup=False, soft_wrap=True)
    if len(closed) > _NAMED:
        console.print(f"… and {len(closed) - _NAMED} more")
    return 1 if closed else 0


async def rotate(console: Console | None = None) -> int:
    """Prints how it goes and what is left; the exit code: 1 when something is."""
    console = console or Console()
    async with _rotation() as (rotation, secrets):
        closed = await _rotate(rotation, await rotation.by_key(), secrets.names[0], console)
        for reason, count in Counter(closed).most_common(_REASONS_SHOWN):
            console.print(f"{count} not rotated: {reason}", markup=False)
        left = await rotation.by_key()
        _show(left, secrets.names, console)
        return 1 if _others(left, secrets.names[0]) else 0


async def _rotate(
    rotation: Rotation, before: Mapping[str, int], first: str, console: Console
) -> list[str]:
    """Why each that couldn't be opened couldn't."""
    closed: list[str] = []
    bar = (TextColumn("encrypting under {task.fields[key]}"), BarColumn(), MofNCompleteColumn())
    with Progress(*bar, console=console) as progress:
        task = progress.add_task("", total=_others(before, first), key=first)
        async for batch in rotation.run():
            closed += batch.closed
            progress.advance(task, batch.sealed)
    return closed


def _others(counts: Mapping[str, int], first: str) -> int:
    return sum(count for name, count in counts.items() if name != first)


def _show(counts: Mapping[str, int], names: Sequence[str], console: Console) -> None:
    table = Table(box=None)
    table.add_column("key", no_wrap=True)
    table.add_column("destinations", justify="right")
    table.add_column("")
    missing = sorted(set(counts) - set(names))
    for name in (*names, *missing):
        table.add_row(name, str(counts.get(name, 0)), _said(name, counts, names))
    console.print(table, markup=False)


def _said(name: str, counts: Mapping[str, int], names: Sequence[str]) -> str:
    if name == names[0]:
        return "encrypts"
    if name not in names:
        return (
            "missing: add it at the end of ROUTER_SECRETS_KEYS; until then what is for these waits"
        )
    if counts.get(name):
        return "still needed: `router secrets rotate`, once every role has the new first key"
    return "no longer needed, once every role runs with the new first key"


@asynccontextmanager
async def _rotation() -> AsyncIterator[tuple[Rotation, Secrets]]:
    settings = read_settings()
    secrets = Secrets(settings.secrets_keys)
    database = Database(settings.registry_url, connections=1)
    try:
        yield Rotation(database, secrets), secrets
    finally:
        await database.aclose()
