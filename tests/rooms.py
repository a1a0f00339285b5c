"""A worker's slots in simulated time: who is served when, and how long the others wait for it."""

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from event_router.consumers.room import Room
from event_router.schemas.delivery import DestinationKey

DRAGS_AFTER = 500
LOOK = 250
"""Between looks at what drags on, and at what waits; ms, as all times here."""
GATHER = 25
"""From a slot that is given back to the look at what waits."""
SOON = 5
"""The same, when one that is trusted waits for a slot."""

Took = Callable[[int], int | None]
"""How long an attempt that begins now takes; None: until it times out."""
TIMEOUT = 30_000


@dataclass(slots=True, eq=False)
class Attempt:
    key: DestinationKey
    arrived: int
    number: int
    began: int
    slow: bool = False


@dataclass
class Simulation:
    """`takes` says of each destination how long its attempts take. Those that time out fail, and
    of each delivery the first `failures`; each is tried again after the next of `delays`."""

    slots: int
    takes: dict[DestinationKey, Took]
    failures: int = 0
    delays: Sequence[int] = ()
    seed: int = 7
    now: int = 0
    waits: dict[DestinationKey, list[int]] = field(default_factory=lambda: defaultdict(list))
    ended: Counter[DestinationKey] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.room = Room(self.slots)
        self._dice = random.Random(self.seed)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._queues: dict[DestinationKey, list[tuple[int, int, int]]] = defaultdict(list)
        self._running: set[Attempt] = set()
        self._looking = False
        self._slot_is_wanted = False
        self._tick()

    def at(self, when: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def run(self, until: int) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = until

    def publish(self, key: DestinationKey, each: float, until: int) -> None:
        """A delivery every `each` ms on average, as many independent clients would send them."""
        when = float(self.now)
        while (when := when + self._dice.expovariate(1 / each)) < until:
            self.at(round(when), lambda: self.arrive(key))

    def arrive(self, key: DestinationKey) -> None:
        if self.room.free(key, self.now):
            self._start(key, self.now, 1)
        else:
            self._park(key, self.now, self.now, 1)

    def waiting(self, key: DestinationKey) -> int:
        return len(self._queues[key])

    def p99(self, keys: set[DestinationKey]) -> float:
        """Of the time from arrival to answer."""
        waits = sorted(wait for key in keys for wait in self.waits[key])
        return waits[len(waits) * 99 // 100]

    def _park(self, key: DestinationKey, due: int, arrived: int, number: int) -> None:
        heapq.heappush(self._queues[key], (due, arrived, number))

    def _start(self, key: DestinationKey, arrived: int, number: int) -> None:
        attempt = Attempt(key, arrived, number, self.now)
        self.room.take(key, self.now)
        self._running.add(attempt)
        takes = self.takes[key](self.now)
        failed = takes is None or number <= self.failures
        self.at(
            self.now + (TIMEOUT if takes is None else takes),
            lambda: self._end(attempt, failed=failed),
        )

    def _end(self, attempt: Attempt, *, failed: bool) -> None:
        key = attempt.key
        self._running.remove(attempt)
        self.room.give(key, slow=attempt.slow, took=self.now - attempt.began)
        self.ended[key] += 1
        if failed:
            self.room.failed(key, self.now, None)
            if attempt.number <= len(self.delays):
                due = self.now + self.delays[attempt.number - 1]
                self._park(key, due, attempt.arrived, attempt.number + 1)
        else:
            self.room.succeeded(key, self.now)
            self.waits[key].append(self.now - attempt.arrived)
        if not self._looking and any(self._queues.values()):
            self._looking = True
            self.at(self.now + (SOON if self._slot_is_wanted else GATHER), self._pull)

    def _tick(self) -> None:
        for attempt in self._running:
            if not attempt.slow and self.now - attempt.began >= DRAGS_AFTER:
                attempt.slow = True
                self.room.mark_slow(attempt.key)
        self._pull()
        self.at(self.now + LOOK, self._tick)

    def _pull(self) -> None:
        self._looking = False
        self._slot_is_wanted = False
        due = [key for key, queue in self._queues.items() if queue and queue[0][0] <= self.now]
        for key in due:
            share = max((self.slots - self.room.taken) // len(due), 1)
            for _ in range(min(self.room.free(key, self.now), share)):
                queue = self._queues[key]
                if queue and queue[0][0] <= self.now:
                    _, arrived, number = heapq.heappop(queue)
                    self._start(key, arrived, number)
            self._slot_is_wanted |= key in self.room.trusted and not self.room.free(key, self.now)
