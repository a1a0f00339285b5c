"""The role `jobs`: ingests batches that were uploaded. Any number of processes may run it; each
job is one's at a time. A role of its own, so that a large batch slows nothing else."""

from event_router.router.adapters import kafka_config, open_uploads
from event_router.router.batch.events_topic import KafkaEventsTopic
from event_router.router.batch.ports import Ports
from event_router.router.batch.worker import DAY, Worker
from event_router.router.clock import now_ms
from event_router.router.roles.connected import connect
from event_router.router.roles.role import Role
from event_router.router.store.jobs import SqlJobs


async def run(role: Role) -> None:
    settings, topics, connected = role.settings, role.topics, connect(role)
    jobs = SqlJobs(settings.registry_url)
    role.closing.push_async_callback(jobs.aclose)
    ports = Ports(
        uploads=open_uploads(settings),
        producer=connected.producer,
        duplicates=connected.duplicates,
        schemas=connected.registry.schemas,
        events=KafkaEventsTopic(kafka_config(settings), topics.events),
        topic=topics.events,
        limit=settings.max_event_bytes,
        clock=now_ms,
    )
    worker = Worker(
        jobs,
        ports,
        role.health,
        lease=settings.job_lease,
        drain=settings.drain_timeout,
        kept=settings.log_retention_days * DAY,
    )
    role.counts["jobs"] = worker.counts
    role.health.started = True
    await worker.run(role.stop)
