"""Which of the dead were replayed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "log_0002"
down_revision = "log_0001"

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "replays",
        sa.Column("place", _TEXT, nullable=False),
        sa.Column("destination", _TEXT, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("place", "destination", name="replays_pk"),
    )
