"""What stream, deliver and api all need, opened, and closed when the role ends."""

from dataclasses import dataclass

from event_router.consumers.handover import Handover
from event_router.consumers.ports import Directory, Duplicates, Producer, Versions
from event_router.router.adapters import open_producer, open_schedule
from event_router.router.directory import CachedDirectory
from event_router.router.duplicates.redis import RedisDuplicates
from event_router.router.hops.operator_events import WithOperator, operator_destination
from event_router.router.redis_handover import RedisHandover
from event_router.router.redis_pipe import RedisPipe
from event_router.router.roles.role import Role
from event_router.router.schedule.redis import RedisSchedule
from event_router.router.store.ports import Registry
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.secrets import Secrets
from event_router.router.unreadable import Unreadable
from event_router.router.versions import RedisVersions


@dataclass(frozen=True, slots=True)
class Connected:
    """The adapters of one role, over one connection to Redis."""

    registry: Registry
    versions: Versions
    directory: Directory
    producer: Producer
    schedule: RedisSchedule
    duplicates: Duplicates
    alerted: Duplicates
    handover: Handover


def connect(role: Role) -> Connected:
    """Each connects when it is first used."""
    settings, topics = role.settings, role.topics
    redis = RedisPipe(settings.redis)
    versions = RedisVersions(redis, topics.prefix)
    registry = SqlRegistry(settings.registry_url, Secrets(settings.secrets_keys), versions)
    producer = open_producer(settings, topics, role.health)
    for close in (redis.aclose, registry.aclose, producer.aclose):
        role.closing.push_async_callback(close)
    directory = CachedDirectory(registry, versions, loaded=Unreadable(role.health).note)
    return Connected(
        registry=registry,
        versions=versions,
        directory=WithOperator(directory, operator_destination(settings)),
        producer=producer,
        schedule=open_schedule(settings, topics, redis),
        duplicates=RedisDuplicates(redis, topics.prefix, settings.duplicate_window),
        alerted=RedisDuplicates(redis, topics.prefix, max(1, settings.alert_exhausted_window)),
        handover=RedisHandover(redis, topics.group(role.name)),
    )
