"""The role `log`: an ordinary subscriber of all four topics, which writes them to SQL. Having the
log, it sweeps, too."""

import asyncio
import logging
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from event_router.consumers.interrupt import Interrupt
from event_router.consumers.log_writer import LogWriter
from event_router.consumers.newer_records import NewerRecords
from event_router.consumers.patience import persist
from event_router.consumers.subscription import Callbacks, Reading, Subscription
from event_router.consumers.watermark import Partition
from event_router.router.adapters import kafka_config
from event_router.router.clock import now_ms
from event_router.router.hops.sweeper import Sweeper
from event_router.router.roles.connected import connect
from event_router.router.roles.gaps import note_gaps
from event_router.router.roles.role import Role
from event_router.router.roles.stopping import stop_reading
from event_router.router.roles.sweep import open_sweep
from event_router.router.store.log import SqlLog

logger = logging.getLogger(__name__)

GATHER = 0.25
AT_ONCE = 2_500
"""Records: decoding them must end soon, be there hardly any CPU left, or the group gives us up."""
DAY_MS = 86_400_000
PRUNED_AT_ONCE = 1_000
PRUNE_PAUSE = 1.0
PRUNE_EVERY = 600.0
NICE = 19


async def run(role: Role) -> None:
    _give_way()
    settings, topics, connected = role.settings, role.topics, connect(role)
    store = SqlLog(settings.log_url)
    role.closing.push_async_callback(store.aclose)
    writer = LogWriter(topics, store, role.health)
    newer, late = NewerRecords(role.health), Interrupt()

    async def revoked(partitions: frozenset[Partition]) -> None:
        newer.forget(partitions)

    subscription = Subscription(
        list(topics.all),
        topics.group("log"),
        kafka=kafka_config(settings),
        reading=Reading(drain=settings.drain_timeout, pace=GATHER, max_records=AT_ONCE),
        callbacks=Callbacks(revoked=revoked, gap=note_gaps(role, "log", connected.producer)),
        health=role.health,
    )
    sweep = open_sweep(role, connected, store)
    sweeper = Sweeper(sweep, now_ms)
    role.counts |= {"log": writer.counts, "sweep": sweep.counts}
    role.lag = lambda: subscription.lag
    role.waiting = subscription.ask_lag
    async with asyncio.TaskGroup() as group, subscription:
        stopping = stop_reading(role, subscription, late)
        stopper = group.create_task(stopping, name="stop reading")
        pruner = group.create_task(_prune(role, store), name="prune the log")
        sweeping = group.create_task(sweeper.run(), name="sweep")
        async for records in subscription:
            async with late:
                subscription.done(await newer.past(writer.write, records))
        stopper.cancel()
        pruner.cancel()
        sweeping.cancel()


def _give_way() -> None:
    """The log may lag, and no delivery on the same machine is to wait for it: it is half of all
    the work that a burst makes. On Linux it runs when a core has nothing else to do, and leaves it
    at once; the lowest priority alone keeps what wakes up waiting for milliseconds at every hop."""
    with suppress(OSError):
        os.nice(NICE)
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        if os.getsid(0) == os.getpid():
            # Where cores are shared out by session, the session's niceness counts: it is ours.
            with suppress(OSError):
                Path("/proc/self/autogroup").write_text(str(NICE))


async def _prune(role: Role, store: SqlLog) -> None:
    """Forgets what is settled and older than the retention, a little at a time."""
    days = role.settings.log_retention_days
    while True:
        before = now_ms() - round(days * DAY_MS)
        forgotten = await persist(
            "database", partial(store.prune, before, PRUNED_AT_ONCE), role.health
        )
        if forgotten:
            logger.info("log.pruned", extra={"events": forgotten, "days": days})
        await asyncio.sleep(PRUNE_PAUSE if forgotten else PRUNE_EVERY)
