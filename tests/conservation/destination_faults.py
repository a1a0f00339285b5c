"""What befalls destinations. They have to bear it for ten seconds, one at a time or four."""

import asyncio
import random

from tests.conservation.bed import Bed
from tests.conservation.fault import Strike, fault
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
