"""What was issued, what is owed because it was acknowledged, and what receivers took."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.conservation.events import Destination, Issued, Key, issue, number_in


class Pair(NamedTuple):
    """A delivery: an event to a destination."""

    number: int
    to: Key


class Taken(NamedTuple):
    """An event that a receiver answered with 200; `at` is monotonic, in seconds."""

    at: float
    event_id: str


@dataclass(slots=True)
class Ledger:
    """`rubbish` holds the places, as the log writes them but without the time, of acknowledged
    records that nobody can read. `refused` are answers that no fault explains."""

    seed: int
    destinations: list[Destination]
    make: Callable[[int, int], Issued] = issue
    issued: dict[int, Issued] = field(default_factory=dict)
    accepted: dict[int, str | None] = field(default_factory=dict)
    rubbish: set[str] = field(default_factory=set)
    taken: dict[Pair, list[Taken]] = field(default_factory=lambda: defaultdict(list))
    owed: set[Pair] = field(default_factory=set)
    outstanding: set[Pair] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    deliveries: int = 0

    def issue(self) -> Issued:
        """The next event: issued from now on, owed once it is accepted."""
        event = self.make(self.seed, len(self.issued))
        self.issued[event.number] = event
        return event

    def accept(self, event: Issued, event_id: str | None) -> None:
        """It was acknowledged, under this id if the answer names one."""
        self.accepted[event.number] = event_id
        for one in self.destinations:
            if one.wants(event):
                pair = Pair(event.number, one.key)
                self.owed.add(pair)
                if pair not in self.taken:
                    self.outstanding.add(pair)

    def check(self, to: Key, event_id: str, body: bytes) -> int | None:
        """The number of the event that came to `to`; None, with a note, when it is wrong."""
        number = number_in(body)
        event = None if number is None else self.issued.get(number)
        if event is None:
            self.wrong.append(f"{to}: {event_id} was never issued: {body[:80]!r}")
            return None
        if event.body != body:
            self.wrong.append(f"{to}: {event_id} has other content than s{number}: {body[:200]!r}")
        if event.event_id not in (None, event_id):
            self.wrong.append(f"{to}: s{number} came as {event_id}, not as {event.event_id}")
        if not any(one.key == to and one.wants(event) for one in self.destinations):
            self.wrong.append(f"{to}: s{number} doesn't belong here")
        return event.number

    def take(self, to: Key, number: int, event_id: str) -> None:
        """It was answered with 200."""
        pair = Pair(number, to)
        self.taken[pair].append(Taken(time.monotonic(), event_id))
        self.outstanding.discard(pair)
        self.deliveries += 1

    def events_of(self, pairs: Iterable[Pair]) -> Iterator[tuple[Pair, Issued, Destination]]:
        by_key = {one.key: one for one in self.destinations}
        for pair in pairs:
            yield pair, self.issued[pair.number], by_key[pair.to]

    @property
    def repeated(self) -> dict[Pair, list[Taken]]:
        """Deliveries that were taken more than once."""
        return {pair: taken for pair, taken in self.taken.items() if len(taken) > 1}
