"""Which of the dead somebody is replaying, and as which round."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "log_0003"
down_revision = "log_0002"

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "replay_claims",
        sa.Column("place", _TEXT, nullable=False),
        sa.Column("destination", _TEXT, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("place", "destination", name="replay_claims_pk"),
    )
