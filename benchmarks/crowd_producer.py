"""A producer for a crowd: events addressed to many destinations in turn, at a timetable.

    python -m benchmarks.crowd_producer LOAD

LOAD is a `Load` as JSON. Prints one JSON line: when it began and ended.
"""

import asyncio
import json
import sys
import time

import msgspec
import uvloop

from benchmarks.producer import numbers
from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.producer import KafkaProducer
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.decode import rfc3339
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.record import Message

SIZE = 500


class Load(msgspec.Struct, frozen=True):
    """`count` events from `begin` (seconds since the epoch) on, `rate` a second (0: as fast as it
    can), numbered from `first`, each to the next of `targets`."""

    kafka: str
    topic: str
    begin: float
    rate: float
    count: int
    targets: list[DestinationKey]
    first: int = 0


def message(load: Load, number: int) -> Message:
    sent = time.time_ns()
    target = load.targets[number % len(load.targets)]
    head = f'{{"sent":{sent},"n":{load.first + number},"pad":"'
    event = NewEvent(
        tenant=target.tenant,
        id=f"e{load.first + number}-{sent}",
        source="benchmark",
        topic="order.created",
        time=rfc3339(sent // 1_000_000),
        data=(head + "x" * (SIZE - len(head) - 2) + '"}').encode(),
        destination=target.destination,
        generated_id=True,
    )
    return event_message(event, load.topic)


async def produce(load: Load) -> None:
    producer = KafkaProducer(KafkaConfig(load.kafka), Health())
    await asyncio.sleep(load.begin - time.time())
    began = time.time()
    async with asyncio.TaskGroup() as sending:
        flying = asyncio.Semaphore(8)
        async for due in numbers(load.count, load.rate):
            await flying.acquire()
            batch = [message(load, number) for number in due]
            task = sending.create_task(producer.send(batch), name="send")
            task.add_done_callback(lambda _: flying.release())
    sys.stdout.write(json.dumps({"began": began, "ended": time.time()}) + "\n")
    await producer.aclose()


if __name__ == "__main__":
    uvloop.run(produce(msgspec.json.decode(sys.argv[1], type=Load)))
