"""`router init`: topics, tables and checks. Idempotent; several at once are safe."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from event_router.consumers.kafka.admin import Admin, NewTopicSpec
from event_router.router.adapters import kafka_config, message_limits
from event_router.router.redis_pipe import RedisPipe, check_redis
from event_router.router.settings import Settings
from event_router.router.store.migrate import migrate
from event_router.schemas.topics import Topics

WEEK_MS = 7 * 86_400 * 1000
FOREVER = -1


@dataclass(frozen=True, slots=True)
class Step:
    """What was seen to, and what came of it."""

    name: str
    outcome: str


async def initialise(settings: Settings) -> AsyncIterator[Step]:
    """Each step as it is done; raises Unavailable, UnfitRedis or InvalidValue at the first that
    can't be. Running it again goes on where it stopped."""
    topics = Topics(settings.namespace, settings.partitions)
    made = await create_topics(settings, topics)
    yield Step("topics", f"made {', '.join(made)}" if made else "in place")
    redis = RedisPipe(settings.redis)
    try:
        await check_redis(redis)
    finally:
        await redis.aclose()
    yield Step("redis", "fit to hold the schedule")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(migrate, settings.registry_url, "registry")
    yield Step("registry", "has the tables of this version")
    await asyncio.to_thread(migrate, settings.log_url, "log")
    yield Step("log", "has the tables of this version")


async def create_topics(settings: Settings, topics: Topics) -> list[str]:
    """The names of those that had to be made. One that is there stays as it is."""
    limits = message_limits(settings, topics)
    async with Admin(kafka_config(settings)) as admin:
        return await admin.create([_spec(topic, topics, limits[topic]) for topic in topics.all])


def _spec(topic: str, topics: Topics, max_bytes: int) -> NewTopicSpec:
    retention = FOREVER if topic == topics.dead else WEEK_MS
    config = {
        "cleanup.policy": "delete",
        "max.message.bytes": str(max_bytes),
        "retention.ms": str(retention),
    }
    return NewTopicSpec(topic, topics.partitions, config)
