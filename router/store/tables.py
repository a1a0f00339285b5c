"""The tables of both databases, as the last migration leaves them.

Times are in ms since the epoch. Text is compared byte by byte on every database, so that pages
are in the same order everywhere. JSON is text: nobody asks SQL to look into it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql

registry = MetaData()
log = MetaData()

_Text = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

tenants = Table(
    "tenants",
    registry,
    Column("id", _Text, nullable=False),
    Column("metadata", _Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("id", name="tenants_pk"),
)
Index("tenants_by_time", tenants.c.created_at, tenants.c.id)

destinations = Table(
    "destinations",
    registry,
    Column("tenant", _Text, nullable=False),
    Column("id", _Text, nullable=False),
    Column("type", _Text, nullable=False),
    Column("topics", _Text, nullable=False),
    Column("config", _Text, nullable=False),
    Column("sealed", _Text, nullable=False),
    Column("filter", _Text),
    Column("metadata", _Text),
    Column("retry", _Text),
    Column("rate_limit", Float),
    Column("version", _Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    PrimaryKeyConstraint("tenant", "id", name="destinations_pk"),
)

jobs = Table(
    "jobs",
    registry,
    Column("uuid", _Text, nullable=False),
    Column("org", _Text, nullable=False),
    Column("tenant", _Text, nullable=False),
    Column("topic", _Text, nullable=False),
    Column("batch_id", _Text),
    Column("files", _Text, nullable=False),
    Column("options", _Text, nullable=False),
    Column("status", _Text, nullable=False),
    Column("progress", _Text, nullable=False),
    Column("remarks", _Text, nullable=False),
    Column("error_reason", _Text),
    Column("error_message", _Text),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("turn", BigInteger, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("lease_owner", _Text),
    Column("lease_until", BigInteger, nullable=False),
    PrimaryKeyConstraint("uuid", name="jobs_pk"),
)
Index("jobs_by_time", jobs.c.created_at, jobs.c.uuid)
Index("jobs_by_turn", jobs.c.status, jobs.c.turn)
Index("jobs_by_batch", jobs.c.tenant, jobs.c.topic, jobs.c.batch_id, unique=True)

event_schemas = Table(
    "event_schemas",
    registry,
    Column("tenant", _Text, nullable=False),
    Column("topic", _Text, nullable=False),
    Column("schema", _Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "topic", name="event_schemas_pk"),
)

violations = Table(
    "violations",
    registry,
    Column("tenant", _Text, nullable=False),
    Column("topic", _Text, nullable=False),
    Column("field", _Text, nullable=False),
    Column("kind", _Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("event", _Text, nullable=False),
    Column("detail", _Text, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "topic", "field", "kind", name="violations_pk"),
)

# The log: no foreign keys, for records of four topics arrive in any order. An event is its origin,
# which stands first in each key: origins and our own ids grow, so rows are added at an index's
# end. Keys that lie anywhere cost twice the CPU once the table is larger than the cache.

events = Table(
    "events",
    log,
    Column("id", _Text, nullable=False),
    Column("tenant", _Text, nullable=False),
    Column("origin", _Text, nullable=False),
    Column("topic", _Text, nullable=False),
    Column("source", _Text, nullable=False),
    Column("time", _Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("content_type", _Text, nullable=False),
    Column("metadata", _Text),
    Column("destination", _Text),
    Column("retry", Boolean, nullable=False),
    Column("partition_key", _Text),
    Column("deduplicate", Boolean, nullable=False),
    Column("updates", _Text),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("origin", name="events_pk"),
)
Index("events_by_id", events.c.id)
Index("events_by_time", events.c.at)
Index("events_by_tenant", events.c.tenant, events.c.at)
_IS_UPDATE = events.c.updates.is_not(None)  # few are, and the others cost nothing
Index(
    "updates_by_event",
    events.c.updates,
    sqlite_where=_IS_UPDATE,
    postgresql_where=_IS_UPDATE,
)

routings = Table(
    "routings",
    log,
    Column("event", _Text, nullable=False),
    Column("tenant", _Text, nullable=False),
    Column("origin", _Text, nullable=False),
    Column("outcome", _Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("origin", name="routings_pk"),
    sqlite_with_rowid=False,
)

deliveries = Table(
    "deliveries",
    log,
    Column("event", _Text, nullable=False),
    Column("tenant", _Text, nullable=False),
    Column("origin", _Text, nullable=False),
    Column("destination", _Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("state", _Text, nullable=False),
    Column("progress", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("manual", Boolean, nullable=False),
    Column("retry", Boolean, nullable=False),
    Column("began", BigInteger, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("delivery_place", _Text, nullable=False),
    Column("attempt_place", _Text, nullable=False),
    PrimaryKeyConstraint("origin", "destination", "round", name="deliveries_pk"),
    sqlite_with_rowid=False,
)
_UNSETTLED = text("progress < 1099511627776")
# They hold all that says which rows are wanted, so that passing over others reads no table.
Index(
    "deliveries_unsettled",
    deliveries.c.next_at,
    deliveries.c.origin,
    deliveries.c.destination,
    deliveries.c.round,
    deliveries.c.tenant,
    deliveries.c.progress,
    sqlite_where=_UNSETTLED,
    postgresql_where=_UNSETTLED,
)
Index(
    "deliveries_unsettled_to",
    deliveries.c.destination,
    deliveries.c.tenant,
    deliveries.c.next_at,
    deliveries.c.origin,
    deliveries.c.round,
    deliveries.c.progress,
    sqlite_where=_UNSETTLED,
    postgresql_where=_UNSETTLED,
)
_SUPERSEDING = text("round > 0 AND state = 'delivered'")
Index(
    "deliveries_superseding",
    deliveries.c.origin,
    sqlite_where=_SUPERSEDING,
    postgresql_where=_SUPERSEDING,
)

# Kept by triggers on `deliveries`: counting millions of rows for each look would cost seconds.
delivery_counts = Table(
    "delivery_counts",
    log,
    Column("state", _Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    PrimaryKeyConstraint("state", name="delivery_counts_pk"),
)

attempts = Table(
    "attempts",
    log,
    Column("id", _Text, nullable=False),
    Column("event", _Text, nullable=False),
    Column("tenant", _Text, nullable=False),
    Column("origin", _Text, nullable=False),
    Column("destination", _Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("manual", Boolean, nullable=False),
    Column("topic", _Text, nullable=False),
    Column("destination_type", _Text, nullable=False),
    Column("outcome", _Text, nullable=False),
    Column("code", _Text, nullable=False),
    Column("status", Integer),
    Column("body", _Text, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("latency", Float, nullable=False),
    Column("retry_after", BigInteger),
    PrimaryKeyConstraint("id", name="attempts_pk"),
)
Index("attempts_by_time", attempts.c.started)
Index("attempts_by_tenant", attempts.c.tenant, attempts.c.started)
Index("attempts_by_destination", attempts.c.destination, attempts.c.tenant, attempts.c.started)
Index("attempts_by_origin", attempts.c.origin)

dead = Table(
    "dead",
    log,
    Column("place", _Text, nullable=False),
    Column("destination", _Text, nullable=False),
    Column("tenant", _Text),
    Column("event", _Text),
    Column("round", Integer),
    Column("reason", _Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    PrimaryKeyConstraint("place", "destination", name="dead_pk"),
)
Index("dead_by_time", dead.c.at)

# Reading `dead` again must not forget what was replayed, so it doesn't stand in `dead`.
replays = Table(
    "replays",
    log,
    Column("place", _Text, nullable=False),
    Column("destination", _Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("place", "destination", name="replays_pk"),
)

# Who replays writes here first: one at a time, and always as the same round.
replay_claims = Table(
    "replay_claims",
    log,
    Column("place", _Text, nullable=False),
    Column("destination", _Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
    PrimaryKeyConstraint("place", "destination", name="replay_claims_pk"),
)
