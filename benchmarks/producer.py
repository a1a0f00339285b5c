"""A producer that costs little: writes events to Kafka in batches, as fast as it can or at a rate.

    python -m benchmarks.producer BOOTSTRAP TOPIC COUNT SIZE RATE IDEMPOTENT

RATE 0 means as fast as it can. Prints one JSON line: when it began and ended, and its CPU seconds.
`benchmarks.http_producer` does the same over HTTP.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

import uvloop

from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.producer import KafkaProducer
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.decode import rfc3339
from event_router.schemas.record import Message

BATCH = 500
TICK = 0.001


def payload(number: int, size: int, sent: int) -> bytes:
    """What the receiver tells the latency by; `sent` in ns."""
    head = f'{{"sent":{sent},"n":{number},"pad":"'
    return (head + "x" * max(size - len(head) - 2, 0) + '"}').encode()


def message(number: int, size: int, topic: str) -> Message:
    sent = time.time_ns()
    event = NewEvent(
        tenant="bench",
        id=f"e{number}-{sent}",
        source="benchmark",
        topic="order.created",
        time=rfc3339(sent // 1_000_000),
        data=payload(number, size, sent),
        generated_id=True,
    )
    return event_message(event, topic)


async def numbers(count: int, rate: float) -> AsyncIterator[range]:
    """Ranges of numbers, each when it is due: a fixed timetable, whatever was late before."""
    if not rate:
        for begin in range(0, count, BATCH):
            yield range(begin, min(begin + BATCH, count))
        return
    began, done = time.monotonic(), 0
    while done < count:
        due = min(int((time.monotonic() - began) * rate) + 1, count)
        if due > done:
            yield range(done, due)
            done = due
        await asyncio.sleep(TICK)


async def produce(
    bootstrap: str, topic: str, count: int, size: int, rate: float, idempotent: bool
) -> None:
    producer = KafkaProducer(KafkaConfig(bootstrap, idempotent=idempotent), Health())
    await producer.send([Message(topic, b"warm", None, [])])
    began, cpu = time.time(), time.process_time()
    async with asyncio.TaskGroup() as sending:
        flying = asyncio.Semaphore(8)
        async for due in numbers(count, rate):
            await flying.acquire()
            batch = [message(number, size, topic) for number in due]
            task = sending.create_task(producer.send(batch), name="send")
            task.add_done_callback(lambda _: flying.release())
    report = {"began": began, "ended": time.time(), "cpu": time.process_time() - cpu}
    await producer.aclose()
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    _, bootstrap, topic, count, size, rate, idempotent = sys.argv
    uvloop.run(produce(bootstrap, topic, int(count), int(size), float(rate), idempotent == "true"))
