"""The role `api`: the HTTP API."""

from event_router.consumers.sinks.kinds import load_sinks
from event_router.router.adapters import open_uploads, webhook_style
from event_router.router.api.app import create_app
from event_router.router.api.known_schemas import KnownSchemas
from event_router.router.api.services import Services
from event_router.router.clock import now_ms
from event_router.router.hops.operator_events import alert_policy
from event_router.router.hops.publish import Publish
from event_router.router.role_health import RoleHealth
from event_router.router.roles.connected import connect
from event_router.router.roles.role import Role, role_metrics
from event_router.router.serve import serve
from event_router.router.store.jobs import SqlJobs
from event_router.router.store.log import SqlLog
from event_router.router.subscriptions import Subscriptions


async def run(role: Role) -> None:
    connected = connect(role)
    publish = Publish(role.topics, connected.producer, connected.duplicates, connected.directory)
    role.counts["publish"] = publish.counts
    log = SqlLog(role.settings.log_url)
    role.closing.push_async_callback(log.aclose)
    jobs = SqlJobs(role.settings.registry_url)
    role.closing.push_async_callback(jobs.aclose)
    known_schemas = KnownSchemas(connected.registry)
    role.closing.push_async_callback(known_schemas.flush)
    subscriptions = Subscriptions(
        alert_policy(role.settings),
        role.topics,
        connected.registry,
        connected.versions,
        connected.producer,
        now_ms,
    )
    services = Services(
        settings=role.settings,
        topics=role.topics,
        registry=connected.registry,
        jobs=jobs,
        uploads=open_uploads(role.settings),
        known_schemas=known_schemas,
        log=log,
        producer=connected.producer,
        schedule=connected.schedule,
        publish=publish,
        subscriptions=subscriptions,
        sinks=load_sinks(webhook_style(role.settings)),
        health=RoleHealth(role.health, role_metrics(role)),
    )
    role.health.started = True
    settings = role.settings
    await serve(
        create_app(services),
        settings.api_host,
        settings.api_port,
        role.stop,
        drain=settings.drain_timeout,
    )
