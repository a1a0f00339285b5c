"""Are the databases there, with the tables of this version, and do their secrets open?"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from event_router.router.checks.finding import Finding, ok, problem
from event_router.router.store import migrations
from event_router.router.store.database import Database, database_url
from event_router.router.store.destination_rows import DestinationRows
from event_router.router.store.migrate import Which
from event_router.router.store.secrets import Secrets
from event_router.router.store.tables import destinations
from event_router.schemas.errors import InvalidValue, Unavailable

T = TypeVar("T")

PATIENCE = 10.0
_NAMED = 5
VARIABLE: dict[Which, str] = {"registry": "ROUTER_DATABASE", "log": "ROUTER_LOG_DATABASE"}


async def examine_database(url: str, which: Which) -> Finding:
    subject = f"{which} database"
    start = f"start it, or set {VARIABLE[which]} to its URL"
    try:
        found = await _current(url, which)
    except InvalidValue as error:
        return problem(subject, str(error), f"correct {VARIABLE[which]}")
    except Unavailable as error:
        return problem(subject, error.detail, start)
    except TimeoutError:
        return problem(subject, f"no answer within {PATIENCE:g} s", start)
    return judge_revision(subject, found, _newest(which))


async def examine_secrets(url: str, keys: Sequence[str]) -> Finding:
    """Opens what is sealed in the registry; nothing of it is shown."""
    advice = "set ROUTER_SECRETS_KEYS to k1:KEY, KEY from `openssl rand -base64 32`"
    if not keys:
        return problem("secrets", "there is no key to seal destinations' credentials with", advice)
    try:
        secrets = Secrets(keys)
    except InvalidValue as error:
        return problem("secrets", str(error), advice)
    try:
        closed, total = await _closed(url, secrets)
    except (InvalidValue, Unavailable, TimeoutError):
        return ok("secrets", "the keys are well-formed; the registry can't be asked")
    if closed:
        more = f"; and {len(closed) - _NAMED} more" if len(closed) > _NAMED else ""
        return problem(
            "secrets",
            f"{len(closed)} of {total} destinations can't be read, and what is for them waits: "
            f"{'; '.join(closed[:_NAMED])}{more}",
            "add each missing key at the end of ROUTER_SECRETS_KEYS of every role, and restart it; "
            "a damaged destination has to be restored, or deleted and made anew",
        )
    return ok("secrets", f"the credentials of all {total} destinations open")


def judge_revision(subject: str, found: str | None, newest: str) -> Finding:
    if found == newest:
        return ok(subject, "has the tables of this version")
    if found is None:
        return problem(subject, "has no tables yet", "run `router init`")
    return problem(
        subject,
        f"its tables are of version {found}, this router's of {newest}",
        "run `router init`; if it says that it doesn't know the version, install a newer router",
    )


def _newest(which: Which) -> str:
    folder = Path(str(migrations.__file__)).parent
    scripts = ScriptDirectory(str(folder), version_locations=[str(folder / which)])
    return str(scripts.get_current_head())


async def _current(url: str, which: Which) -> str | None:
    def revision(connection: Connection) -> str | None:
        options = {"version_table": f"{which}_version"}
        return MigrationContext.configure(connection, opts=options).get_current_revision()

    return await _read(url, revision)


async def _closed(url: str, secrets: Secrets) -> tuple[list[str], int]:
    """Which don't open and why, and how many there are in all."""
    query = select(destinations).order_by(destinations.c.tenant, destinations.c.id)
    rows = await _read(url, lambda connection: connection.execute(query).all()) or ()
    read = map(DestinationRows(secrets).read, rows)
    return [f"{one.tenant}/{one.id}: {one.unreadable}" for one in read if one.unreadable], len(rows)


async def destinations_by_type(url: str) -> dict[str, int]:
    """How many destinations there are. Raises InvalidValue, Unavailable, TimeoutError."""
    query = select(destinations.c.type, func.count()).group_by(destinations.c.type)
    rows = await _read(url, lambda connection: connection.execute(query).all()) or ()
    return {row[0]: row[1] for row in rows}


async def _read(url: str, look: Callable[[Connection], T]) -> T | None:
    """None when there is no database yet."""
    if _is_file_to_be_made(url):
        return None
    database = Database(url, connections=1)
    try:
        async with asyncio.timeout(PATIENCE):
            return await database.read(look)
    finally:
        await database.aclose()


def _is_file_to_be_made(url: str) -> bool:
    """SQLite makes its file when it is opened, and looking must not make any."""
    parsed = database_url(url)
    return parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists()
