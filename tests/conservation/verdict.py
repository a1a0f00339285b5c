"""Was anything lost? Pure: what was issued and taken, against what the log says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.conservation.ledger import Ledger, Pair, Taken
from tests.conservation.logged import Logged

AROUND = 12.0  # seconds: a process has to start, and to join its group
BEFORE = 3.0
MOST_REPEATED = 0.005


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault, from when to when (monotonic, in seconds), and what went wrong with it."""

    name: str
    kills: bool
    began: float
    ended: float
    trouble: str = ""


@dataclass(slots=True)
class Repeats:
    """Deliveries taken more than once, by the reason. `published`: the client published its event
    again under the same id, and Redis had lost the first one's."""

    around_kills: Counter[str] = field(default_factory=Counter)
    published: int = 0
    other: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.around_kills.total() + self.published + len(self.other)


def problems(ledger: Ledger, logged: Logged) -> list[str]:
    """What must not be; empty when everything was conserved."""
    kinds = (
        _lost(ledger, logged),
        _wrongly_dead(ledger, logged),
        _unlogged(ledger, logged),
        _unissued(ledger, logged),
        _renamed(ledger),
        iter(ledger.wrong),
        (f"refused: {answer}" for answer in ledger.refused),
        (f"in the log, of nothing that was issued: {one}" for one in logged.strange),
    )
    return [line for kind in kinds for line in kind]


def lost(ledger: Ledger, logged: Logged) -> int:
    """How many deliveries that were owed, and records that can't be read, are nowhere."""
    return sum(1 for _ in _lost(ledger, logged))


def _lost(ledger: Ledger, logged: Logged) -> Iterator[str]:
    for pair in sorted(ledger.owed - ledger.taken.keys() - logged.dead.keys()):
        yield f"lost: {pair} ({logged.states.get(pair, 'unknown to the log')})"
    for place in sorted(ledger.rubbish - {_without_time(one) for one in logged.undecodable}):
        yield f"lost: what can't be read, at {place}"


def _without_time(place: str) -> str:
    return place.rpartition(":")[0]


def _wrongly_dead(ledger: Ledger, logged: Logged) -> Iterator[str]:
    for pair, event, destination in ledger.events_of(sorted(logged.dead)):
        if wrong := logged.dead[pair] - destination.reasons(event):
            yield f"dead for a wrong reason: {pair}: {', '.join(wrong)}"
    for place, reason in logged.undecodable.items():
        if reason != "invalid_json":
            yield f"dead for a wrong reason: {place}: {reason}"


def _unlogged(ledger: Ledger, logged: Logged) -> Iterator[str]:
    """What the log doesn't know, or knows otherwise."""
    for number, event_id in ledger.accepted.items():
        if event_id is not None and event_id not in logged.ids.get(number, ()):
            yield f"the log has no event {event_id} (s{number})"
        elif number not in logged.ids:
            yield f"the log has no event s{number}"
    for pair in ledger.taken:
        if "delivered" not in logged.states.get(pair, ()) and not _is_late(pair, logged):
            yield f"taken, but in the log: {pair}: {logged.states.get(pair)}"
    for pair, states in logged.states.items():
        if not {"delivered", "dead"}.issuperset(states):
            yield f"unsettled in the log: {pair}: {', '.join(states)}"
        if "delivered" in states and pair not in ledger.taken:
            yield f"delivered in the log, but never taken: {pair}"
        if "dead" in states and pair not in logged.dead:
            yield f"dead in the log, but not in dead: {pair}"


def _is_late(pair: Pair, logged: Logged) -> bool:
    """It was taken, but the answer came when the only attempt that it may have was over: whoever
    waited can't know, and dead is right."""
    return "dead" in logged.states.get(pair, ()) and pair in logged.late


def _unissued(ledger: Ledger, logged: Logged) -> Iterator[str]:
    for number, bodies in logged.bodies.items():
        event = ledger.issued.get(number)
        if event is None:
            yield f"in the log, but never issued: s{number}"
        elif bodies != {event.body}:
            yield f"in the log with other content: s{number}"


def _renamed(ledger: Ledger) -> Iterator[str]:
    """Every delivery of an event carries the same id."""
    names: dict[int, set[str]] = {}
    for pair, taken in ledger.taken.items():
        names.setdefault(pair.number, set()).update(one.event_id for one in taken)
    for number, ids in names.items():
        if len(ids) > 1:
            yield f"delivered under several ids: s{number}: {', '.join(sorted(ids))}"


def repeats(ledger: Ledger, logged: Logged, struck: Sequence[Struck]) -> Repeats:
    """Why deliveries were taken more than once."""
    found = Repeats()
    kills = [one for one in struck if one.kills]
    for pair, taken in ledger.repeated.items():
        for before, again in pairwise(taken):
            if len(logged.states.get(pair, ())) > 1:
                found.published += 1
            elif names := [kill.name for kill in kills if _explains(kill, before, again)]:
                found.around_kills[names[-1]] += 1
            else:
                found.other.append(_told(pair, before, again, struck))
    return found


def _explains(kill: Struck, before: Taken, again: Taken) -> bool:
    return again.at >= kill.began and kill.began - BEFORE <= before.at <= kill.ended + AROUND


def _told(pair: Pair, before: Taken, again: Taken, struck: Sequence[Struck]) -> str:
    names = [
        one.name
        for one in struck
        if one.began - BEFORE <= again.at and one.ended + AROUND >= before.at
    ]
    passed = again.at - before.at
    return f"{pair} came again after {passed:.1f} s, amid {', '.join(names) or 'no fault'}"


def reasons(logged: Logged) -> Counter[str]:
    """How many are dead of what."""
    found = Counter(reason for pair in logged.dead.values() for reason in pair)
    found.update(logged.undecodable.values())
    return found
