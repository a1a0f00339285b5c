"""The role `stream`: the Faust app with the hops route and settle."""

from event_router.consumers.newer_records import Hop
from event_router.router.clock import now_ms
from event_router.router.decisions.retry import policy_from
from event_router.router.hops.operator_events import alert_policy
from event_router.router.hops.route import Route
from event_router.router.hops.settle import Settle
from event_router.router.roles.connected import connect
from event_router.router.roles.gaps import note_gaps
from event_router.router.roles.role import Role
from event_router.router.stream.app import on_assigned, run_stream, stream_app


async def run(role: Role) -> None:
    settings, topics, connected = role.settings, role.topics, connect(role)
    route = Route(
        topics=topics,
        directory=connected.directory,
        duplicates=connected.duplicates,
        producer=connected.producer,
        health=role.health,
        clock=now_ms,
    )
    settle = Settle(
        topics=topics,
        directory=connected.directory,
        schedule=connected.schedule,
        producer=connected.producer,
        disabler=connected.registry,
        alerted=connected.alerted,
        policy=policy_from(settings),
        alert_policy=alert_policy(settings),
        health=role.health,
        clock=now_ms,
    )
    role.counts |= {"route": route.counts, "settle": settle.counts}
    hops: dict[str, Hop] = {topics.events: route, topics.attempts: settle}
    note = note_gaps(role, "stream", connected.producer)
    group, handover = topics.group("stream"), connected.handover
    app = stream_app(settings, group, hops, role.health, note, handover)
    on_assigned(app, settle.forget)
    role.lag = lambda: app.consumer.known_lag()
    role.waiting = lambda: app.consumer.lag()
    await run_stream(app, role.stop)
