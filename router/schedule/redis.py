"""The schedule in Redis. `lua/shard.lua` has the table of keys; each operation is one script per
shard, all of a call's in one pipeline."""

import functools
import logging
import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from event_router.consumers.ports import (
    MAX_DOOR,
    MAX_LEASE,
    Backoff,
    Claim,
    Claimed,
    Due,
    EntryKey,
    Held,
    Lease,
    Look,
    Parked,
    ParkResult,
    ScheduleStats,
    Settled,
    entry_key,
    member_of,
)
from event_router.router.redis_pipe import (
    Argument,
    RedisPipe,
    Reply,
    Request,
    checked,
    is_out_of_memory,
    request,
)
from event_router.router.schedule import scripts
from event_router.router.schedule.layout import (
    Bounds,
    decode_body,
    encode_body,
    lease_ms,
    nonces,
)
from event_router.router.schedule.scripts import Call, Script, Scripts
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import Undecodable
from event_router.schemas.topics import Topics

log = logging.getLogger(__name__)

TOTAL_IS_FRESH = 1.0
"""Seconds for which the bytes of all shards are taken to be what they were."""


class _Place(NamedTuple):
    """Where a destination lives: its shard, and its name in the shard's keys."""

    shard: int
    name: str


class _Entry(NamedTuple):
    """What a script is told of one entry."""

    destination: DestinationKey
    values: tuple[Argument, ...]


@dataclass(slots=True)
class _Shard:
    """The part of a call that one shard takes; `order` says which entries, as they stand."""

    keys: list[str]
    arguments: list[Argument] = field(default_factory=list)
    order: list[int] = field(default_factory=list)


class RedisSchedule:
    """`time` is the command that tells the time; it isn't TIME in tests only."""

    def __init__(
        self,
        pipe: RedisPipe,
        topics: Topics,
        bounds: Bounds,
        *,
        time: Sequence[str] = ("TIME",),
        fractions: Iterator[int] | None = None,
    ) -> None:
        self._pipe = pipe
        self._topics = topics
        self._bounds = bounds
        self._scripts = Scripts(time)
        self._time = request(time)
        self._nonces = fractions or nonces()
        self._sentinel = f"{topics.namespace}:schedule"
        self._total = 0
        self._total_at = -math.inf
        self._place = functools.lru_cache(100_000)(self._find_place)
        self._look = functools.lru_cache(10_000)(self._look_request)
        self._is_used = functools.lru_cache(None)(self._is_used_request)

    async def park(self, entries: Sequence[Parked]) -> list[ParkResult]:
        bodies = [encode_body(entry.delivery) for entry in entries]
        keys = [entry_key(entry.delivery.head) for entry in entries]
        sizes = [len(body) for body in bodies]
        room = await self._room(sum(sizes))
        shards = self._by_shard(
            _Entry(key.destination, (key.member, entry.due, body))
            for key, entry, body in zip(keys, entries, bodies, strict=True)
        )
        calls = []
        for shard in shards:
            calls.append(_call(shard, room, self._bounds.destination))
            room -= sum(sizes[i] for i in shard.order)
        results: list[ParkResult] = [
            _PARK_RESULTS[reply] for reply in _in_order(shards, await self._park(calls))
        ]
        self._total += sum(sizes[i] for i, result in enumerate(results) if result == "parked")
        return results

    async def hold(self, running: Sequence[Held], seconds: float) -> list[Lease | None]:
        first = (lease_ms(seconds), next(self._nonces))
        tokens = await self._hold(running, first, with_body=False)
        unsure = [i for i, token in enumerate(tokens) if token == b"body"]
        decided = await self._hold([running[i] for i in unsure], first, with_body=True)
        for i, token in zip(unsure, decided, strict=True):
            tokens[i] = token
        return [
            Lease(entry_key(held.delivery.head), token.decode()) if token else None
            for held, token in zip(running, tokens, strict=True)
        ]

    async def claim(self, claims: Sequence[Claim], seconds: float) -> list[Claimed]:
        entries = (_Entry(claim.destination, (claim.count, claim.max_bytes)) for claim in claims)
        shards = self._by_shard(entries)
        first = (lease_ms(seconds), next(self._nonces))
        replies = await self._run(self._scripts.claim, shards, *first)
        claimed: list[Claimed] = []
        for shard, (token, taken) in zip(shards, replies, strict=True):
            for i, pairs in zip(shard.order, taken, strict=True):
                claimed += _claimed(claims[i].destination, token.decode(), pairs)
        return claimed

    async def finish(self, leases: Sequence[Lease]) -> None:
        entries = (
            _Entry(lease.entry.destination, (lease.entry.member, lease.token)) for lease in leases
        )
        await self._run(self._scripts.finish, self._by_shard(entries))

    async def remove(self, settled: Sequence[Settled]) -> None:
        """What lies in shards that hold nothing costs next to nothing."""
        used = await self._used({self._place(each.head.key).shard for each in settled})
        if used:
            entries = (
                entry
                for each in settled
                if self._place(each.head.key).shard in used
                for entry in _removals(each)
            )
            await self._run(self._scripts.remove, self._by_shard(entries))

    async def door(self, destination: DestinationKey, seconds: float) -> None:
        closed = round(min(seconds, MAX_DOOR) * 1000)
        shards = self._by_shard([_Entry(destination, (closed,))])
        await self._run(self._scripts.door, shards)

    async def due(self, shards: Collection[int], limit: Mapping[int, int]) -> Look:
        looks = [self._look(shard, limit.get(shard, 1)) for shard in shards]
        packed = b"".join((self._time.packed, *looks))
        replies = await self._pipe.send(Request(packed, 1 + len(looks)))
        seconds, micros = checked(replies[0])
        now = int(seconds) * 1000 + int(micros) // 1000
        # Mostly all are empty, and this is what an idle worker does.
        return Look(now, [due for heads in replies[1:] if heads for due in _due(checked(heads))])

    async def backoff(
        self, destinations: Collection[DestinationKey]
    ) -> dict[DestinationKey, Backoff]:
        fields: dict[int, list[DestinationKey]] = defaultdict(list)
        for destination in destinations:
            fields[self._place(destination).shard].append(destination)
        commands = (
            ("HMGET", self._key(shard, "backoff"), *(self._place(key).name for key in keys))
            for shard, keys in fields.items()
        )
        found = {}
        for keys, reply in zip(
            fields.values(), await self._pipe.send(request(*commands)), strict=True
        ):
            for key, value in zip(keys, checked(reply), strict=True):
                if value is not None:
                    found[key] = Backoff(*map(int, value.split()))
        return found

    async def set_backoff(self, backoff: Mapping[DestinationKey, Backoff | None]) -> None:
        arguments: dict[int, list[Argument]] = defaultdict(list)
        for destination, value in backoff.items():
            place = self._place(destination)
            arguments[place.shard] += (place.name, _backoff_field(value))
        calls = [Call([self._key(shard, "backoff")], each) for shard, each in arguments.items()]
        for reply in await scripts.run(self._pipe, self._scripts.backoff, calls):
            checked(reply)

    async def stats(self) -> ScheduleStats:
        shards = range(self._topics.shards)
        commands = [
            command
            for shard in shards
            for command in (
                ("HLEN", self._key(shard, "body")),
                ("ZRANGE", self._key(shard, "due"), 0, -1),
            )
        ]
        replies = [checked(reply) for reply in await self._pipe.send(request(*commands))]
        used = [_key_of(name) for names in replies[1::2] for name in names]
        leased = await self._run(
            self._scripts.leased, self._by_shard(_Entry(key, ()) for key in used), _MAX_LEASE_MS
        )
        return ScheduleStats(sum(replies[::2]), await self._read_total(), sum(leased))

    async def intact(self) -> bool:
        """Whether Redis still has what `mark` wrote: if not, it has lost what was parked."""
        return bool(await self._pipe.call("EXISTS", self._sentinel))

    async def mark(self) -> None:
        """From now on a loss shows in `intact`."""
        await self._pipe.call("SET", self._sentinel, "1")

    async def aclose(self) -> None:
        await self._pipe.aclose()

    async def _park(self, calls: list[Call]) -> list[Reply]:
        """Redis that has no memory left takes what overwrites, and refuses what is new."""
        replies = await scripts.run(self._pipe, self._scripts.park, calls)
        full = [i for i, reply in enumerate(replies) if is_out_of_memory(reply)]
        without_room = [Call(calls[i].keys, [-1, *calls[i].arguments[1:]]) for i in full]
        again = await scripts.run(self._pipe, self._scripts.park_full, without_room)
        for i, reply in zip(full, again, strict=True):
            replies[i] = reply
        return [checked(reply) for reply in replies]

    async def _hold(
        self, running: Sequence[Held], first: tuple[int, int], *, with_body: bool
    ) -> list[bytes]:
        """A held delivery without a lease needs its body at once, the others when asked for."""
        shards = self._by_shard(
            _Entry(held.delivery.head.key, _holding(held, with_body=with_body)) for held in running
        )
        return _in_order(shards, await self._run(self._scripts.hold, shards, *first))

    async def _used(self, shards: Iterable[int]) -> set[int]:
        """Those that hold any entries."""
        asked = list(shards)
        packed = b"".join(map(self._is_used, asked))
        replies = await self._pipe.send(Request(packed, len(asked)))
        return {shard for shard, reply in zip(asked, replies, strict=True) if checked(reply)}

    async def _room(self, wanted: int) -> int:
        """Bytes that new entries may take now. Looked up again when the figure is old, or when
        `wanted` doesn't fit: others park too, and finished entries make room."""
        stale = time.monotonic() - self._total_at > TOTAL_IS_FRESH
        if stale or self._total + wanted > self._bounds.total:
            self._total = await self._read_total()
            self._total_at = time.monotonic()
        return self._bounds.total - self._total

    async def _read_total(self) -> int:
        shards = range(self._topics.shards)
        commands = (("HGET", self._key(shard, "bytes"), "") for shard in shards)
        replies = await self._pipe.send(request(*commands))
        return sum(int(checked(reply) or 0) for reply in replies)

    async def _run(self, script: Script, shards: Sequence[_Shard], *first: Argument) -> list[Reply]:
        """What `script` answered, one a shard; `first` are the arguments before the entries."""
        calls = [_call(shard, *first) for shard in shards]
        return [checked(reply) for reply in await scripts.run(self._pipe, script, calls)]

    def _by_shard(self, entries: Iterable[_Entry]) -> list[_Shard]:
        queues: dict[_Place, list[tuple[int, _Entry]]] = defaultdict(list)
        for i, entry in enumerate(entries):
            queues[self._place(entry.destination)].append((i, entry))
        shards: dict[int, _Shard] = {}
        for place, queue in queues.items():
            shard = shards.get(place.shard)
            if shard is None:
                keys = [self._key(place.shard, name) for name in ("due", "doors", "bytes", "body")]
                shard = shards[place.shard] = _Shard(keys)
            shard.keys.append(self._key(place.shard, f"q:{place.name}"))
            shard.arguments.append(len(queue))
            for i, entry in queue:
                shard.arguments += entry.values
                shard.order.append(i)
        return list(shards.values())

    def _key(self, shard: int, name: str) -> str:
        return f"{{{self._topics.namespace}r{shard}}}{name}"

    def _find_place(self, destination: DestinationKey) -> _Place:
        return _Place(self._topics.shard_of(*destination), "/".join(destination))

    def _look_request(self, shard: int, limit: int) -> bytes:
        command = ("ZRANGE", self._key(shard, "due"), 0, limit - 1, "WITHSCORES")
        return request(command).packed

    def _is_used_request(self, shard: int) -> bytes:
        return request(("EXISTS", self._key(shard, "body"))).packed


_MAX_LEASE_MS = int(MAX_LEASE * 1000)

_PARK_RESULTS: dict[bytes, ParkResult] = {
    b"parked": "parked",
    b"kept": "kept",
    b"refused": "refused",
}


def _call(shard: _Shard, *first: Argument) -> Call:
    return Call(shard.keys, [*first, *shard.arguments])


def _in_order(shards: Sequence[_Shard], replies: Sequence[Reply]) -> list[bytes]:
    """One result an entry, in the order in which the entries came."""
    results = {
        i: result
        for shard, reply in zip(shards, replies, strict=True)
        for i, result in zip(shard.order, reply, strict=True)
    }
    return [results[i] for i in range(len(results))]


def _holding(held: Held, *, with_body: bool) -> tuple[Argument, ...]:
    head = held.delivery.head
    body = encode_body(held.delivery) if with_body or held.lease is None else b""
    return (member_of(head, head.round), held.lease.token if held.lease else "", body)


def _removals(settled: Settled) -> Iterator[_Entry]:
    head, last = settled.head, settled.up_to_attempt
    if last is not None:
        yield _Entry(head.key, (member_of(head, head.round), last))
        return
    for round_ in range(head.round + 1):
        yield _Entry(head.key, (member_of(head, round_), ""))


def _claimed(destination: DestinationKey, token: str, pairs: list[bytes]) -> Iterator[Claimed]:
    """What can't be read (a newer version wrote it) stays leased, and comes round again."""
    for member, body in zip(pairs[::2], pairs[1::2], strict=True):
        lease = Lease(EntryKey(destination, member.decode()), token)
        try:
            delivery = decode_body(body)
        except Undecodable as error:
            extra = {**destination._asdict(), "member": lease.entry.member, "detail": str(error)}
            log.exception("schedule.undecodable", extra=extra)
        else:
            yield Claimed(lease, delivery)


def _due(heads: list[bytes]) -> Iterator[Due]:
    for name, score in zip(heads[::2], heads[1::2], strict=True):
        yield Due(_key_of(name), math.ceil(float(score)))


def _key_of(name: bytes) -> DestinationKey:
    tenant, _, destination = name.decode().partition("/")
    return DestinationKey(tenant, destination)


def _backoff_field(value: Backoff | None) -> str:
    return f"{value.failures} {value.since} {value.open_until}" if value else ""
