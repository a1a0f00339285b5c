"""The faults, by name: each begins, lasts for as long as its dice say, and is over on return.

What a fault `touches` no other one touches meanwhile. `kills`: a SIGKILL is in it of a process
that delivers or routes, around which deliveries may be repeated.
"""

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from event_router.router.redis_pipe import RedisPipe
from tests import services
from tests.conservation.bed import FAKETIME, Bed, Database
from tests.conservation.receivers import (
    Mood,
    Receiver,
    failing,
    halving,
    hanging,
    resetting,
    slow,
    throttling,
)

Strike = Callable[[Bed, random.Random], Awaitable[None]]


class Unknown(Exception):
    """No fault has that name, or it can't be had here; the message says what can."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`only` where it makes sense with one of the databases; `needs` names what to install."""

    name: str
    about: str
    touches: frozenset[str]
    strike: Strike
    kills: bool = False
    only: Database | None = None
    needs: str = ""


FAULTS: dict[str, Fault] = {}


def fault(
    about: str, touches: str, *, kills: bool = False, only: Database | None = None, needs: str = ""
) -> Callable[[Strike], Strike]:
    """Registers a function under its name."""

    def register(strike: Strike) -> Strike:
        name = strike.__name__
        FAULTS[name] = Fault(name, about, frozenset(touches.split()), strike, kills, only, needs)
        return strike

    return register


def chosen(names: str, database: Database) -> list[Fault]:
    """The faults in a comma-separated list; of `all`, those that go with the database. Raises
    Unknown."""
    if names == "all":
        found = [one for one in FAULTS.values() if one.only in (None, database)]
    else:
        found = [_named(name.strip(), database) for name in names.split(",")]
    if lacking := sorted({one.needs for one in found if one.needs}):
        raise Unknown(f"install {', '.join(lacking)}, or leave out the faults that need it")
    return found


def _named(name: str, database: Database) -> Fault:
    found = FAULTS.get(name)
    if found is None:
        raise Unknown(f"{name} is no fault; there are: {', '.join(FAULTS)}")
    if found.only not in (None, database):
        raise Unknown(f"{name} needs --database {found.only}")
    return found


# Processes of ours ----------------------------------------------------------------------------


def _ended(role: str, number: signal.Signals) -> Strike:
    async def strike(bed: Bed, dice: random.Random) -> None:
        await bed.roles.end(dice.choice(bed.roles.named(role)), number)
        await bed.roles.ready(30)

    strike.__name__ = f"{'kill' if number is signal.SIGKILL else 'term'}_{role}"
    return strike


for _role in ("stream", "deliver", "log", "api"):
    _repeats = _role in ("stream", "deliver")
    fault(f"SIGKILL of the role {_role}", _role, kills=_repeats)(_ended(_role, signal.SIGKILL))
    fault(f"SIGTERM of the role {_role}", _role)(_ended(_role, signal.SIGTERM))


@fault("another deliver joins, and leaves in order", "deliver")
async def join_deliver(bed: Bed, dice: random.Random) -> None:
    await _visit(bed, dice, "deliver-3", signal.SIGTERM)


@fault("another stream joins, and leaves in order", "stream")
async def join_stream(bed: Bed, dice: random.Random) -> None:
    await _visit(bed, dice, "stream-2", signal.SIGTERM)


@fault("another deliver and another stream join, and are killed", "deliver stream", kills=True)
async def join_and_die(bed: Bed, dice: random.Random) -> None:
    await asyncio.gather(
        _visit(bed, dice, "deliver-3", signal.SIGKILL),
        _visit(bed, dice, "stream-2", signal.SIGKILL),
    )


async def _visit(bed: Bed, dice: random.Random, name: str, end: signal.Signals) -> None:
    await bed.roles.start(name)
    await asyncio.sleep(dice.uniform(6, 15))
    await bed.roles.leave(name, end)


# Services -------------------------------------------------------------------------------------


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


@fault("Kafka is killed, and started with its data within 6 s", "kafka", kills=True)
async def kill_kafka(bed: Bed, dice: random.Random) -> None:
    async with _away(bed.kafka, bed.kafka.kill):
        await asyncio.sleep(dice.uniform(0, 6))


@fault("Kafka is away for 40 s: longer than producers wait", "kafka", kills=True)
async def kafka_away(bed: Bed, dice: random.Random) -> None:
    async with _away(bed.kafka, bed.kafka.stop):
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


# Clocks ---------------------------------------------------------------------------------------


def _stepped(seconds: int) -> Strike:
    """In some of our processes, and back again."""

    async def strike(bed: Bed, dice: random.Random) -> None:
        names = [name for name in bed.roles.running if dice.random() < 0.6]
        for name in names:
            bed.roles.clock_file(name).write_text(f"{seconds:+}s")
        await asyncio.sleep(dice.uniform(8, 15))
        for name in names:
            bed.roles.clock_file(name).write_text("+0s")

    strike.__name__ = "clock_fast" if seconds > 0 else "clock_slow"
    return strike


_FAKETIME = "" if FAKETIME else "faketime"
fault("clocks step a minute ahead, and back", "clock", needs=_FAKETIME)(_stepped(60))
fault("clocks step a minute back, and ahead", "clock", needs=_FAKETIME)(_stepped(-60))


# Destinations ---------------------------------------------------------------------------------


def _some(bed: Bed, dice: random.Random) -> list[Receiver]:
    return dice.sample(bed.healthy, dice.choice((1, 1, 4)))


def _moody(name: str, mood: Mood, seconds: float = 10.0) -> Strike:
    async def strike(bed: Bed, dice: random.Random) -> None:
        some = _some(bed, dice)
        for one in some:
            one.mood = mood
        await asyncio.sleep(seconds)
        for one in some:
            one.mood = one.calm

    strike.__name__ = name
    return strike


for _name, _mood, _about in (
    ("answer_500", failing, "answer 500"),
    ("answer_429", throttling, "answer 429 with Retry-After"),
    ("reset", resetting, "reset connections instead of answering"),
    ("half_a_body", halving, "answer half a body and close"),
    ("black_hole", hanging, "take requests and never answer"),
    ("slow", slow, "answer after 2.5 s"),
):
    fault(f"destinations {_about}, for 10 s", "destinations")(_moody(_name, _mood))


@fault("destinations refuse connections, for 10 s", "destinations")
async def refuse(bed: Bed, dice: random.Random) -> None:
    some = _some(bed, dice)
    for one in some:
        await one.close()
    await asyncio.sleep(10)
    for one in some:
        await one.open()
