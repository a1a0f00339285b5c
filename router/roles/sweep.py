"""Sweep as the role `log` runs it, and as a command."""

from event_router.router.adapters import kafka_config
from event_router.router.decisions.retry import policy_from
from event_router.router.hops.sweep import Sweep
from event_router.router.kafka_offsets import KafkaOffsets
from event_router.router.roles.connected import Connected
from event_router.router.roles.role import Role
from event_router.router.store.log_ports import Log


def open_sweep(role: Role, connected: Connected, log: Log) -> Sweep:
    return Sweep(
        topics=role.topics,
        log=log,
        schedule=connected.schedule,
        offsets=KafkaOffsets(kafka_config(role.settings)),
        directory=connected.directory,
        policy=policy_from(role.settings),
    )
