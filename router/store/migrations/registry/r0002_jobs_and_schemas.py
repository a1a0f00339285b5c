"""Batch jobs, and what is known of events: schemas and their violations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "registry_0002"
down_revision = "registry_0001"

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("org", _TEXT, nullable=False),
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("topic", _TEXT, nullable=False),
        sa.Column("batch_id", _TEXT),
        sa.Column("files", _TEXT, nullable=False),
        sa.Column("options", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("progress", _TEXT, nullable=False),
        sa.Column("remarks", _TEXT, nullable=False),
        sa.Column("error_reason", _TEXT),
        sa.Column("error_message", _TEXT),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        sa.Column("lease_owner", _TEXT),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="jobs_pk"),
    )
    op.create_index("jobs_by_time", "jobs", ["created_at", "uuid"])
    op.create_index("jobs_by_turn", "jobs", ["status", "turn"])
    op.create_index("jobs_by_batch", "jobs", ["tenant", "topic", "batch_id"], unique=True)
    op.create_table(
        "event_schemas",
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("topic", _TEXT, nullable=False),
        sa.Column("schema", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "topic", name="event_schemas_pk"),
    )
    op.create_table(
        "violations",
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("topic", _TEXT, nullable=False),
        sa.Column("field", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("event", _TEXT, nullable=False),
        sa.Column("detail", _TEXT, nullable=False),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "topic", "field", "kind", name="violations_pk"),
    )
