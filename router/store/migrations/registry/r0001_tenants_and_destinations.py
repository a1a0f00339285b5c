"""Tenants and destinations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "registry_0001"
down_revision = None

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("metadata", _TEXT),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="tenants_pk"),
    )
    op.create_index("tenants_by_time", "tenants", ["created_at", "id"])
    op.create_table(
        "destinations",
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("type", _TEXT, nullable=False),
        sa.Column("topics", _TEXT, nullable=False),
        sa.Column("config", _TEXT, nullable=False),
        sa.Column("sealed", _TEXT, nullable=False),
        sa.Column("filter", _TEXT),
        sa.Column("metadata", _TEXT),
        sa.Column("retry", _TEXT),
        sa.Column("rate_limit", sa.Float),
        sa.Column("version", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant", "id", name="destinations_pk"),
    )
