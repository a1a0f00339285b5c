"""Which event an event changes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "log_0004"
down_revision = "log_0003"

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("events", sa.Column("updates", _TEXT))
    is_update = sa.text("updates IS NOT NULL")
    op.create_index(
        "updates_by_event",
        "events",
        ["updates"],
        sqlite_where=is_update,
        postgresql_where=is_update,
    )
