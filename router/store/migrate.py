"""Bringing a database to the tables that this version knows."""

from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from event_router.router.store.database import make_engine, only_our_errors
from event_router.schemas.errors import Unavailable

Which = Literal["registry", "log"]

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x65765F72  # any number that nobody else uses for an advisory lock


def migrate(url: str, which: Which) -> None:
    """The database at `url` has the newest tables of the registry, or of the log, on return.

    Both may live in one database. Blocks. Nothing happens when all is in place; several at once
    wait for one another. Raises Unavailable, also for a database from a newer version.
    """
    engine = make_engine(url, connections=1)
    try:
        with only_our_errors(), engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                _upgrade(connection, which)
    finally:
        engine.dispose()


def _upgrade(connection: Connection, which: Which) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("version_locations", str(_FOLDER / which).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, which=which)
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Unavailable("database", f"the {which} can't be migrated: {error}") from error
