"""The role `deliver`: reads deliveries and what is due in the schedule, and attempts them."""

import asyncio

from event_router.consumers.delivery_worker import DeliveryWorker, WorkerLimits
from event_router.consumers.interrupt import Interrupt
from event_router.consumers.newer_records import NewerRecords
from event_router.consumers.subscription import Callbacks, Reading, Subscription
from event_router.consumers.waiting import when
from event_router.consumers.watermark import Partition
from event_router.router.adapters import kafka_config, open_sinks
from event_router.router.clock import now_ms
from event_router.router.roles.connected import connect
from event_router.router.roles.gaps import OnGap, note_gaps
from event_router.router.roles.role import Role
from event_router.router.roles.stopping import stop_reading

WINDOW = 40_000
"""Offsets: what a burst at one destination reads in the seconds that its first deliveries wait in
line. What is held in memory is bounded by the line."""


async def run(role: Role) -> None:
    settings, topics, connected = role.settings, role.topics, connect(role)
    worker = DeliveryWorker(
        topics=topics,
        directory=connected.directory,
        schedule=connected.schedule,
        producer=connected.producer,
        sinks=open_sinks(settings),
        done=lambda records: subscription.done(records),
        health=role.health,
        clock=now_ms,
        holds=lambda record: subscription.holds(record),
        is_member=lambda: subscription.is_member,
        limits=WorkerLimits(slots=settings.delivery_slots, max_age=settings.retry_max_age),
    )
    newer = NewerRecords(role.health)
    subscription = Subscription(
        [topics.deliveries],
        topics.group("deliver"),
        kafka=kafka_config(settings),
        reading=Reading(drain=settings.drain_timeout, window=WINDOW),
        callbacks=_moves(worker, newer, note_gaps(role, "deliver", connected.producer)),
        health=role.health,
        handover=connected.handover,
    )
    role.counts["deliver"] = worker.counts
    role.lag = lambda: subscription.lag
    role.waiting = subscription.ask_lag
    role.gauges = lambda: {
        "deliver_running": float(worker.room.taken),
        "deliver_slots": float(worker.limits.slots),
    }
    await _work(role, worker, newer, subscription)


def _moves(worker: DeliveryWorker, newer: NewerRecords, gap: OnGap) -> Callbacks:
    """What the worker does when partitions come and go."""
    mine: set[int] = set()

    async def assigned(partitions: frozenset[Partition]) -> None:
        mine.update(number for _, number in partitions)
        worker.assigned(mine)

    async def drain(partitions: frozenset[Partition], seconds: float) -> None:
        await worker.release({number for _, number in partitions}, seconds)

    async def revoked(partitions: frozenset[Partition]) -> None:
        newer.forget(partitions)
        mine.difference_update(number for _, number in partitions)
        worker.assigned(mine)

    return Callbacks(assigned=assigned, drain=drain, revoked=revoked, gap=gap)


async def _work(
    role: Role, worker: DeliveryWorker, newer: NewerRecords, subscription: Subscription
) -> None:
    """Stops in this order: nothing more is read, what runs is finished or parked, offsets are
    committed and the group is left."""
    parked, late = asyncio.Event(), Interrupt()
    async with asyncio.TaskGroup() as group, subscription:
        running = group.create_task(
            worker.run(parked, role.settings.drain_timeout), name="delivery worker"
        )
        stopping = stop_reading(role, subscription, late)
        stopper = group.create_task(stopping, name="stop reading")
        parker = group.create_task(when(role.park, worker.park_everything), name="park from now on")
        async for records in subscription:
            async with late:
                await newer.past(worker.take, records)
        parked.set()
        await running
        stopper.cancel()
        parker.cancel()
