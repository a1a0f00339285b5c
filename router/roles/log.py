"""The role `log`: an ordinary subscriber of all four topics, which writes them to SQL."""

import asyncio

from event_router.consumers.log_writer import LogWriter
from event_router.consumers.subscription import Reading, Subscription
from event_router.router.adapters import kafka_config
from event_router.router.roles.role import Role
from event_router.router.store.log import SqlLog

GATHER = 0.25


async def run(role: Role) -> None:
    settings, topics = role.settings, role.topics
    store = SqlLog(settings.log_url)
    role.closing.push_async_callback(store.aclose)
    writer = LogWriter(topics, store, role.health)
    subscription = Subscription(
        list(topics.all),
        topics.group("log"),
        kafka=kafka_config(settings),
        reading=Reading(drain=settings.drain_timeout, pace=GATHER, max_records=10_000),
        health=role.health,
    )
    role.counts["log"] = writer.counts
    role.lag = lambda: subscription.lag
    async with asyncio.TaskGroup() as group, subscription:
        stopper = group.create_task(_stop(role, subscription), name="stop reading")
        role.health.started = True
        async for records in subscription:
            await writer.write(records)
            subscription.done(records)
        stopper.cancel()


async def _stop(role: Role, subscription: Subscription) -> None:
    await role.stop.wait()
    subscription.stop()
