"""What befalls Kafka, Redis, PostgreSQL, and the disk."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from event_router.router.redis_pipe import RedisPipe
from tests import services
from tests.conservation.bed import Bed
from tests.conservation.fault import fault


@asynccontextmanager
async def _paused(service: services.Service) -> AsyncIterator[None]:
    service.pause()
    try:
        yield
    finally:
        service.resume()


@asynccontextmanager
async def _away(service: services.Service, end: Callable[[], None]) -> AsyncIterator[None]:
    """Ended with `end`, and started with its data afterwards."""
    await asyncio.to_thread(end)
    try:
        yield
    finally:
        await asyncio.to_thread(service.start)


@fault("Kafka is stopped (SIGSTOP) for 5 to 12 s", "kafka")
async def pause_kafka(bed: Bed, dice: random.Random) -> None:
    async with _paused(bed.kafka):
        await asyncio.sleep(dice.uniform(5, 12))


@fault("Kafka is killed, and started with its data within 6 s", "kafka")
async def kill_kafka(bed: Bed, dice: random.Random) -> None:
    async with _away(bed.kafka, bed.kafka.kill):
        await asyncio.sleep(dice.uniform(0, 6))


@fault("all of Kafka is away for 40 s: longer than producers wait", "kafka second-broker")
async def kafka_away(bed: Bed, dice: random.Random) -> None:
    async with AsyncExitStack() as stack:
        if bed.second is not None:  # it starts after the first one, which is its controller
            await stack.enter_async_context(_away(bed.second, bed.second.kill))
        await stack.enter_async_context(_away(bed.kafka, bed.kafka.stop))
        await asyncio.sleep(40)


@fault("half of the partitions have no leader for 40 s", "kafka second-broker")
async def leaderless(bed: Bed, dice: random.Random) -> None:
    assert bed.second is not None
    async with _away(bed.second, bed.second.kill):
        await asyncio.sleep(40)


@fault("Redis is killed, and comes back empty within 8 s", "redis")
async def restart_redis(bed: Bed, dice: random.Random) -> None:
    async with _away(bed.redis, bed.redis.kill):
        await asyncio.sleep(dice.uniform(0, 8))


@fault("Redis is stopped (SIGSTOP) for 3 to 10 s", "redis")
async def pause_redis(bed: Bed, dice: random.Random) -> None:
    async with _paused(bed.redis):
        await asyncio.sleep(dice.uniform(3, 10))


@fault("FLUSHALL, twice within 4 s", "redis")
async def flush_redis(bed: Bed, dice: random.Random) -> None:
    await _redis(bed, "FLUSHALL")
    await asyncio.sleep(dice.uniform(0, 4))
    await _redis(bed, "FLUSHALL")


@fault("Redis has no memory left for 8 to 15 s (maxmemory, noeviction)", "redis")
async def fill_redis(bed: Bed, dice: random.Random) -> None:
    await _redis(bed, "CONFIG", "SET", "maxmemory", "1")
    try:
        await asyncio.sleep(dice.uniform(8, 15))
    finally:
        await _redis(bed, "CONFIG", "SET", "maxmemory", "0")


async def _redis(bed: Bed, *words: str) -> None:
    pipe = RedisPipe(bed.redis.url)
    try:
        await pipe.call(*words)
    finally:
        await pipe.aclose()


@fault("PostgreSQL is stopped for 30 s", "database", only="postgres")
async def postgres_away(bed: Bed, dice: random.Random) -> None:
    assert bed.postgres is not None
    async with _away(bed.postgres, bed.postgres.stop):
        await asyncio.sleep(30)


@fault("PostgreSQL is killed, and started with its data within 5 s", "database", only="postgres")
async def kill_postgres(bed: Bed, dice: random.Random) -> None:
    assert bed.postgres is not None
    async with _away(bed.postgres, bed.postgres.kill):
        await asyncio.sleep(dice.uniform(0, 5))


@fault(
    "every write and sync of the log's disk takes 0.1 s longer, for 15 s (strace)",
    "log api",
    only="sqlite",
    needs="" if shutil.which("strace") else "strace",
)
async def slow_disk(bed: Bed, dice: random.Random) -> None:
    calls = "pwrite64,fsync,fdatasync"
    names = [*bed.roles.named("log"), *bed.roles.named("api")]
    pids = [f"-p{bed.roles.running[name].child.pid}" for name in names]
    tracer = await asyncio.create_subprocess_exec(
        "strace", "-f", "-qq", "-o/dev/null", f"-etrace={calls}",
        f"-einject={calls}:delay_enter=100000", *pids,
    )  # fmt: skip
    await asyncio.sleep(15)
    assert tracer.returncode is None, "strace could not attach"
    tracer.terminate()
    await tracer.wait()
