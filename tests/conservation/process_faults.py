"""What befalls our own processes: ends, visitors, clocks that step."""

import asyncio
import random
import signal

from tests.conservation.bed import FAKETIME, Bed
from tests.conservation.fault import Strike, fault


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
