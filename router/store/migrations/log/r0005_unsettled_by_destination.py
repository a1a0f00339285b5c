"""What is unsettled, by destination, and without reading the table for what is passed over."""

import sqlalchemy as sa
from alembic import op

revision = "log_0005"
down_revision = "log_0004"

_UNSETTLED = sa.text("progress < 1099511627776")


def upgrade() -> None:
    op.drop_index("deliveries_unsettled", "deliveries")
    _create_index(
        "deliveries_unsettled", "next_at", "origin", "destination", "round", "tenant", "progress"
    )
    _create_index(
        "deliveries_unsettled_to", "destination", "tenant", "next_at", "origin", "round", "progress"
    )


def _create_index(name: str, *columns: str) -> None:
    op.create_index(
        name,
        "deliveries",
        list(columns),
        sqlite_where=_UNSETTLED,
        postgresql_where=_UNSETTLED,
    )
