"""A SQL database behind async calls: SQLite (WAL) or PostgreSQL (psycopg).

SQLAlchemy's engine is a blocking one, called from a few threads of its own: an async driver costs
more per call, and SQLite has none. Exceptions of SQLAlchemy and of the drivers end here.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, ProgrammingError, SQLAlchemyError

from event_router.schemas.errors import InvalidValue, Unavailable

T = TypeVar("T")

LOCK_WAIT = 30.0
_NOTICING = {
    "connect_timeout": 5,
    # Seconds, but for the last (ms): a server whose machine has vanished says nothing, and TCP by
    # itself gives it up after a quarter of an hour, while all threads wait.
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# FULL: Redis may lose its last second with the power, so what Kafka was told is logged must be on
# the disk. It costs an fsync a batch, not CPU. The WAL may grow to 16 MB before it is copied back:
# small batches write the same pages again and again.
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "cache_size=-32768",
    "wal_autocheckpoint=4000",
)
_SUPPORTED = "a URL such as sqlite:////var/lib/router/log.sqlite or postgresql://user@host/name"


def database_url(text: str) -> URL:
    """The URL with the driver that is used; raises InvalidValue."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InvalidValue("database", "(not shown)", _SUPPORTED) from error
    if url.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername in {"sqlite", "sqlite+pysqlite"}:
        return url.set(drivername="sqlite+pysqlite")
    raise InvalidValue("database", url.drivername, _SUPPORTED)


def make_engine(text: str, connections: int = 4) -> Engine:
    """An engine for the URL; nothing is connected yet. The folder of a SQLite file is made."""
    url = database_url(text)
    sizes = {"pool_size": connections, "max_overflow": 0, "pool_timeout": LOCK_WAIT}
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(url, sizes)
        ours = {name: value for name, value in _NOTICING.items() if name not in url.query}
        return create_engine(url, pool_pre_ping=True, connect_args=ours, **sizes)
    except (NoSuchModuleError, ArgumentError) as error:
        raise InvalidValue("database", url.drivername, _SUPPORTED) from error


def _sqlite_engine(url: URL, sizes: dict[str, Any]) -> Engine:
    if not url.database or url.database == ":memory:":
        raise InvalidValue(
            "database", url.database, "the path of a file: sqlite:////var/lib/router/log.sqlite"
        )
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"a folder that can be made ({error.strerror}): ROUTER_DATA_DIR says where it lies"
        raise InvalidValue("database", str(folder), why) from error
    engine = create_engine(url, connect_args={"timeout": LOCK_WAIT}, **sizes)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions begin where we say so: the driver would begin one late, and as a reader.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        _set(connection, pragma)


def _set(connection: sqlite3.Connection, pragma: str) -> None:
    """Waits for its turn by itself: of several that begin a file's write-ahead log at once, SQLite
    refuses all but one at once, whatever the timeout."""
    until = time.monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}").close()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A reader that becomes a writer can't wait for the lock, it fails: so writers begin as such.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def only_our_errors() -> Iterator[None]:
    """SQLAlchemy's and the drivers' exceptions become Unavailable("database")."""
    try:
        yield
    except _foreign_errors() as error:
        detail = _said(error)
        if "no such table" in detail or isinstance(error, ProgrammingError):
            detail += "; has `router init` been run?"
        raise Unavailable("database", detail) from error


def _foreign_errors() -> tuple[type[Exception], ...]:
    """psycopg's own come from cursors of its own; it takes half a second to import, so with
    SQLite nobody does."""
    psycopg = sys.modules.get("psycopg")
    return (SQLAlchemyError, sqlite3.Error, OSError, *([psycopg.Error] if psycopg else []))


def _said(error: Exception) -> str:
    """What the driver said, without the statement and its parameters: they may hold secrets."""
    original = getattr(error, "orig", None) or error
    return str(original).strip().splitlines()[0] if str(original).strip() else repr(original)


class Database:
    """One database. Calls raise Unavailable("database") when it is in trouble."""

    def __init__(self, url: str, connections: int = 4) -> None:
        self.engine = make_engine(url, connections)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="sql")

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; all its statements see one state of the database."""
        return await self._call(work, writes=False)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once committed; rolled back when it raises."""
        return await self._call(work, writes=True)

    async def _call(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, work, writes)

    def _run(self, work: Callable[[Connection], T], writes: bool) -> T:
        with only_our_errors(), self.engine.connect() as connection:
            connection = connection.execution_options(writes=writes)
            if not writes and not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                return work(connection)

    async def aclose(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self.engine.dispose()
