"""The faults, by name: each begins, lasts for as long as its dice say, and is over on return.

What a fault `touches` no other one touches meanwhile. `kills`: a SIGKILL is in it of a process
that delivers or routes, around which deliveries may be repeated.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests import services
from tests.conservation.bed import Bed, Database
from tests.conservation.receivers import (
    Mood,
    failing,
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


@fault("Redis is killed, and comes back empty", "redis")
async def restart_redis(bed: Bed, dice: random.Random) -> None:
    async with _away(bed.redis, bed.redis.kill):
        await asyncio.sleep(dice.uniform(0, 8))


# Destinations ---------------------------------------------------------------------------------


def _moody(name: str, mood: Mood) -> Strike:
    async def strike(bed: Bed, dice: random.Random) -> None:
        some = dice.sample(bed.healthy, dice.choice((1, 1, 3)))
        for one in some:
            one.mood = mood
        await asyncio.sleep(10)
        for one in some:
            one.mood = one.calm

    strike.__name__ = name
    return strike


fault("destinations answer 500 for 10 s", "destinations")(_moody("answer_500", failing))
