"""A worker's slots in simulated time: who is served when, and how long the others wait for it."""

import heapq
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from event_router.consumers.room import Room
from event_router.schemas.delivery import DestinationKey

DRAGS_AFTER = 500
LOOK = 250
"""Between looks at what drags on, and at what waits; ms, as all times here."""
SOON = 25
"""From a slot that is given back to the look at what waits."""

Took = Callable[[int], int | None]
"""How long an attempt that begins now takes; None: until it times out."""
TIMEOUT = 30_000


@dataclass(slots=True)
class Attempt:
    key: DestinationKey
    slow: bool = False


@dataclass
class Simulation:
    """`takes` says of each destination how long its attempts take. Those that time out fail."""

    slots: int
    takes: dict[DestinationKey, Took]
    seed: int = 7
    now: int = 0
    waits: dict[DestinationKey, list[int]] = field(default_factory=lambda: defaultdict(list))
    ended: Counter[DestinationKey] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.room = Room(self.slots)
        self._dice = random.Random(self.seed)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._queues: dict[DestinationKey, deque[int]] = defaultdict(deque)
        self._running: list[tuple[int, Attempt]] = []
        self._looking = False
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
            self._start(key, self.now)
        else:
            self._queues[key].append(self.now)

    def p99(self, keys: set[DestinationKey]) -> float:
        """Of the time from arrival to answer."""
        waits = sorted(wait for key in keys for wait in self.waits[key])
        return waits[len(waits) * 99 // 100]

    def _start(self, key: DestinationKey, arrived: int) -> None:
        attempt, began = Attempt(key), self.now
        self.room.take(key)
        self._running.append((began, attempt))
        takes = self.takes[key](began)
        lasts = TIMEOUT if takes is None else takes
        self.at(began + lasts, lambda: self._end(attempt, began, arrived, failed=takes is None))

    def _end(self, attempt: Attempt, began: int, arrived: int, *, failed: bool) -> None:
        self._running.remove((began, attempt))
        self.room.give(attempt.key, slow=attempt.slow)
        if failed:
            self.room.failed(attempt.key, self.now, None)
        else:
            self.room.succeeded(attempt.key, self.now)
            self.waits[attempt.key].append(self.now - arrived)
        self.ended[attempt.key] += 1
        if not self._looking and any(self._queues.values()):
            self._looking = True
            self.at(self.now + SOON, self._pull)

    def _tick(self) -> None:
        for began, attempt in self._running:
            if not attempt.slow and self.now - began >= DRAGS_AFTER:
                attempt.slow = True
                self.room.mark_slow(attempt.key)
        self._pull()
        self.at(self.now + LOOK, self._tick)

    def _pull(self) -> None:
        self._looking = False
        waiting = [key for key, queue in self._queues.items() if queue]
        for key in waiting:
            share = max((self.slots - self.room.taken) // len(waiting), 1)
            queue = self._queues[key]
            for _ in range(min(self.room.free(key, self.now), share, len(queue))):
                self._start(key, queue.popleft())
