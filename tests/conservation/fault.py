"""The faults, by name: each begins, lasts for as long as its dice say, and is over on return.

What a fault `touches` no other one touches meanwhile. `kills`: a SIGKILL is in it of a process
that delivers or routes, around which deliveries may be repeated.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.conservation.bed import Bed, Database

Strike = Callable[[Bed, random.Random], Awaitable[None]]


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
