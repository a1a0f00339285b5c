"""Which keys belong to a destination, and a call's entries sorted into one call a shard."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from event_router.router.redis_pipe import Argument, Reply
from event_router.router.schedule.scripts import Call
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.topics import Topics

# The first KEYS of the scripts, in their order.
_OF_A_SHARD = ("due", "doors", "bytes", "body")


class Place(NamedTuple):
    """Where a destination lives: its shard, and its name in the shard's keys."""

    shard: int
    name: str


class Entry(NamedTuple):
    """What a script is told of one entry."""

    destination: DestinationKey
    values: tuple[Argument, ...]


@dataclass(slots=True)
class ShardCall:
    """The part of a call that one shard takes; `order` says which entries, as they stand."""

    keys: list[str]
    arguments: list[Argument] = field(default_factory=list)
    order: list[int] = field(default_factory=list)

    def call(self, *first: Argument) -> Call:
        """`first` are the arguments before the entries."""
        return Call(self.keys, [*first, *self.arguments])


class Shards:
    """The keys of the schedule's shards."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.all = range(topics.shards)
        self.place = functools.lru_cache(100_000)(self._place)

    def key(self, shard: int, name: str) -> str:
        return f"{{{self._topics.namespace}r{shard}}}{name}"

    def queue(self, destination: DestinationKey) -> str:
        place = self.place(destination)
        return self.key(place.shard, f"q:{place.name}")

    def of(self, entries: Iterable[Entry]) -> list[ShardCall]:
        """The entries by shard, and within one by destination, otherwise in order."""
        queues: dict[Place, list[tuple[int, Entry]]] = defaultdict(list)
        for i, entry in enumerate(entries):
            queues[self.place(entry.destination)].append((i, entry))
        shards: dict[int, ShardCall] = {}
        for place, queue in queues.items():
            shard = shards.get(place.shard)
            if shard is None:
                keys = [self.key(place.shard, name) for name in _OF_A_SHARD]
                shard = shards[place.shard] = ShardCall(keys)
            shard.keys.append(self.key(place.shard, f"q:{place.name}"))
            shard.arguments.append(len(queue))
            for i, entry in queue:
                shard.arguments += entry.values
                shard.order.append(i)
        return list(shards.values())

    def _place(self, destination: DestinationKey) -> Place:
        return Place(self._topics.shard_of(*destination), "/".join(destination))


def in_order(shards: Sequence[ShardCall], replies: Sequence[Reply]) -> list[bytes]:
    """One result an entry, in the order in which the entries came."""
    results = {
        i: result
        for shard, reply in zip(shards, replies, strict=True)
        for i, result in zip(shard.order, reply, strict=True)
    }
    return [results[i] for i in range(len(results))]


def destination_of(name: bytes) -> DestinationKey:
    tenant, _, destination = name.decode().partition("/")
    return DestinationKey(tenant, destination)
