"""Alembic runs this. The connection, in a transaction that holds the lock, is given to it."""

from alembic import context

from event_router.router.store import tables

given = context.config.attributes
context.configure(
    connection=given["connection"],
    target_metadata=tables.registry if given["which"] == "registry" else tables.log,
    version_table=f"{given['which']}_version",
)
context.run_migrations()
