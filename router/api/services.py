"""What the API stands on: ports, settings and a clock. Whoever starts it fills them in."""

from collections.abc import Callable
from dataclasses import dataclass

from event_router.consumers.ports import Producer, Schedule
from event_router.consumers.sinks.kinds import SinkTypes
from event_router.router.api.known_schemas import KnownSchemas
from event_router.router.batch.uploads import Uploads
from event_router.router.clock import now_ms
from event_router.router.hops.publish import Publish
from event_router.router.role_health import RoleHealth
from event_router.router.settings import Settings
from event_router.router.store.job_ports import Jobs
from event_router.router.store.log_ports import Log
from event_router.router.store.ports import Registry
from event_router.router.subscriptions import Subscriptions
from event_router.schemas.topics import Topics


@dataclass(frozen=True, slots=True)
class Services:
    """The API's ports. `clock` gives ms since the epoch."""

    settings: Settings
    topics: Topics
    registry: Registry
    jobs: Jobs
    uploads: Uploads
    known_schemas: KnownSchemas
    log: Log
    producer: Producer
    schedule: Schedule
    publish: Publish
    subscriptions: Subscriptions
    sinks: SinkTypes
    health: RoleHealth
    clock: Callable[[], int] = now_ms
