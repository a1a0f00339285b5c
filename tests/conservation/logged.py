"""What the router's log says of it all, read by SQL."""

from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.engine import Connection

from event_router.router.store.database import make_engine
from event_router.router.store.tables import attempts, dead, deliveries, events
from tests.conservation.events import Key, number_in
from tests.conservation.ledger import Pair

SETTLED = {"delivered", "dead"}


@dataclass(slots=True)
class Logged:
    """`ids` of each event by number; states of each delivery, one for each round and each time it
    was published; reasons of the dead. `late`: an attempt was given up before its answer came.
    `undecodable` is by place. `strange`: nobody issued it."""

    ids: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    bodies: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    states: dict[Pair, list[str]] = field(default_factory=lambda: defaultdict(list))
    dead: dict[Pair, set[str]] = field(default_factory=lambda: defaultdict(set))
    late: set[Pair] = field(default_factory=set)
    undecodable: dict[str, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    @property
    def unsettled(self) -> int:
        return sum(not SETTLED.issuperset(states) for states in self.states.values())


def read_log(url: str) -> Logged:
    """All of it. Blocks."""
    engine = make_engine(url)
    found = Logged()
    try:
        with engine.connect() as connection:
            numbers = _read_events(connection, found)
            _read_deliveries(connection, found, numbers)
            _read_late(connection, found, numbers)
            _read_dead(connection, found)
    finally:
        engine.dispose()
    return found


def read_dead(url: str) -> set[Pair]:
    """The deliveries that are dead. Blocks."""
    engine = make_engine(url)
    found = Logged()
    try:
        with engine.connect() as connection:
            _read_dead(connection, found)
    finally:
        engine.dispose()
    return set(found.dead)


def _read_events(connection: Connection, found: Logged) -> dict[str, int]:
    """Numbers by origin."""
    numbers: dict[str, int] = {}
    for origin, event_id, data in connection.execute(
        select(events.c.origin, events.c.id, events.c.data)
    ):
        number = number_in(data)
        if number is None:
            found.strange.append(f"event {event_id} at {origin}: {data[:80]!r}")
            continue
        numbers[origin] = number
        found.ids[number].add(event_id)
        found.bodies[number].add(data)
    return numbers


def _read_deliveries(connection: Connection, found: Logged, numbers: dict[str, int]) -> None:
    table = deliveries.c
    wanted = select(table.origin, table.tenant, table.destination, table.state)
    for origin, tenant, destination, state in connection.execute(wanted):
        if origin in numbers:
            found.states[Pair(numbers[origin], Key(tenant, destination))].append(state)
        else:
            found.strange.append(f"delivery of {origin} to {tenant}/{destination}")


def _read_late(connection: Connection, found: Logged, numbers: dict[str, int]) -> None:
    table = attempts.c
    wanted = select(table.origin, table.tenant, table.destination).where(table.code == "timeout")
    for origin, tenant, destination in connection.execute(wanted):
        if origin in numbers:
            found.late.add(Pair(numbers[origin], Key(tenant, destination)))


def _read_dead(connection: Connection, found: Logged) -> None:
    table = dead.c
    wanted = select(table.place, table.tenant, table.destination, table.reason, table.value)
    for place, tenant, destination, reason, value in connection.execute(wanted):
        if tenant is None:
            found.undecodable[place] = reason
            continue
        number = number_in(value or b"")
        if number is None:
            found.strange.append(f"dead {place} to {tenant}/{destination}")
        else:
            found.dead[Pair(number, Key(tenant, destination))].add(reason)
