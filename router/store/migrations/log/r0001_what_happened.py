"""Events, what route said of them, deliveries, attempts, dead."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "log_0001"
down_revision = None

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

_UNSETTLED = sa.text("progress < 1099511627776")
_SUPERSEDING = sa.text("round > 0 AND state = 'delivered'")


def upgrade() -> None:
    _create_events()
    _create_deliveries()
    _create_attempts_and_dead()
    _create_counts()
    if op.get_context().dialect.name == "sqlite":
        _count_on_sqlite()
    else:
        _count_on_postgresql()


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("origin", _TEXT, nullable=False),
        sa.Column("topic", _TEXT, nullable=False),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("time", _TEXT, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("content_type", _TEXT, nullable=False),
        sa.Column("metadata", _TEXT),
        sa.Column("destination", _TEXT),
        sa.Column("retry", sa.Boolean, nullable=False),
        sa.Column("partition_key", _TEXT),
        sa.Column("deduplicate", sa.Boolean, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("origin", name="events_pk"),
    )
    op.create_index("events_by_id", "events", ["id"])
    op.create_index("events_by_time", "events", ["at"])
    op.create_index("events_by_tenant", "events", ["tenant", "at"])
    op.create_table(
        "routings",
        sa.Column("event", _TEXT, nullable=False),
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("origin", _TEXT, nullable=False),
        sa.Column("outcome", _TEXT, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("origin", name="routings_pk"),
        sqlite_with_rowid=False,
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("event", _TEXT, nullable=False),
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("origin", _TEXT, nullable=False),
        sa.Column("destination", _TEXT, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("progress", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("manual", sa.Boolean, nullable=False),
        sa.Column("retry", sa.Boolean, nullable=False),
        sa.Column("began", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("delivery_place", _TEXT, nullable=False),
        sa.Column("attempt_place", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("origin", "destination", "round", name="deliveries_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "deliveries_unsettled",
        "deliveries",
        ["next_at"],
        sqlite_where=_UNSETTLED,
        postgresql_where=_UNSETTLED,
    )
    op.create_index(
        "deliveries_superseding",
        "deliveries",
        ["origin"],
        sqlite_where=_SUPERSEDING,
        postgresql_where=_SUPERSEDING,
    )


def _create_attempts_and_dead() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("event", _TEXT, nullable=False),
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("origin", _TEXT, nullable=False),
        sa.Column("destination", _TEXT, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("manual", sa.Boolean, nullable=False),
        sa.Column("topic", _TEXT, nullable=False),
        sa.Column("destination_type", _TEXT, nullable=False),
        sa.Column("outcome", _TEXT, nullable=False),
        sa.Column("code", _TEXT, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("body", _TEXT, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("latency", sa.Float, nullable=False),
        sa.Column("retry_after", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="attempts_pk"),
    )
    op.create_index("attempts_by_time", "attempts", ["started"])
    op.create_index("attempts_by_tenant", "attempts", ["tenant", "started"])
    op.create_index("attempts_by_destination", "attempts", ["destination", "tenant", "started"])
    op.create_index("attempts_by_origin", "attempts", ["origin"])
    op.create_table(
        "dead",
        sa.Column("place", _TEXT, nullable=False),
        sa.Column("destination", _TEXT, nullable=False),
        sa.Column("tenant", _TEXT),
        sa.Column("event", _TEXT),
        sa.Column("round", sa.Integer),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.PrimaryKeyConstraint("place", "destination", name="dead_pk"),
    )
    op.create_index("dead_by_time", "dead", ["at"])


def _create_counts() -> None:
    op.create_table(
        "delivery_counts",
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("state", name="delivery_counts_pk"),
    )
    # Every state has its row from the start, so that triggers only ever update.
    op.execute(
        "INSERT INTO delivery_counts (state, n) VALUES "
        "('queued', 0), ('failed', 0), ('rejected', 0), ('dead', 0), ('delivered', 0)"
    )


_INCREMENT = "UPDATE delivery_counts SET n = n + 1 WHERE state = NEW.state;"
_DECREMENT = "UPDATE delivery_counts SET n = n - 1 WHERE state = OLD.state;"


def _count_on_sqlite() -> None:
    op.execute(
        f"CREATE TRIGGER deliveries_inserted AFTER INSERT ON deliveries BEGIN {_INCREMENT} END"
    )
    op.execute(
        f"CREATE TRIGGER deliveries_deleted AFTER DELETE ON deliveries BEGIN {_DECREMENT} END"
    )
    op.execute(
        "CREATE TRIGGER deliveries_updated AFTER UPDATE OF state ON deliveries "
        f"WHEN OLD.state <> NEW.state BEGIN {_DECREMENT} {_INCREMENT} END"
    )


# One update a statement, not a row; in the order of the states, so that two writers can't wait
# for each other.
_COUNT = """
CREATE FUNCTION count_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR change IN SELECT state, count(*) AS n FROM new_rows GROUP BY state ORDER BY state LOOP
            UPDATE delivery_counts c SET n = c.n + change.n WHERE c.state = change.state;
        END LOOP;
    ELSIF TG_OP = 'DELETE' THEN
        FOR change IN SELECT state, count(*) AS n FROM old_rows GROUP BY state ORDER BY state LOOP
            UPDATE delivery_counts c SET n = c.n - change.n WHERE c.state = change.state;
        END LOOP;
    ELSE
        FOR change IN
            SELECT state, sum(n) AS n FROM (
                SELECT state, count(*) AS n FROM new_rows GROUP BY state
                UNION ALL
                SELECT state, -count(*) FROM old_rows GROUP BY state
            ) AS both_rows GROUP BY state HAVING sum(n) <> 0 ORDER BY state
        LOOP
            UPDATE delivery_counts c SET n = c.n + change.n WHERE c.state = change.state;
        END LOOP;
    END IF;
    RETURN NULL;
END $$
"""


def _count_on_postgresql() -> None:
    op.execute(_COUNT)
    for name, change, rows in (
        ("deliveries_inserted", "INSERT", "NEW TABLE AS new_rows"),
        ("deliveries_deleted", "DELETE", "OLD TABLE AS old_rows"),
        ("deliveries_updated", "UPDATE", "NEW TABLE AS new_rows OLD TABLE AS old_rows"),
    ):
        op.execute(
            f"CREATE TRIGGER {name} AFTER {change} ON deliveries REFERENCING {rows} "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_deliveries()"
        )
