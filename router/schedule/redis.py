"""The schedule in Redis. `lua/shard.lua` has the table of keys; each operation is one script per
shard, all of a call's in one pipeline."""

import functools
import logging
import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

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
from event_router.router.schedule.sharding import Entry, ShardCall, Shards, destination_of, in_order
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import Undecodable
from event_router.schemas.topics import Topics

log = logging.getLogger(__name__)

TOTAL_IS_FRESH = 1.0
"""Seconds for which the bytes of all shards are taken to be what they were."""


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
        self._shards = Shards(topics)
        self._bounds = bounds
        self._scripts = Scripts(time)
        self._time = request(time)
        self._nonces = fractions or nonces()
        self._sentinel = f"{topics.namespace}:schedule"
        self._turn = f"{topics.namespace}:sweep"
        self._total = 0
        self._total_at = -math.inf
        self._look = functools.lru_cache(10_000)(self._look_request)
        self._is_used = functools.lru_cache(None)(self._is_used_request)

    async def park(self, entries: Sequence[Parked]) -> list[ParkResult]:
        bodies = [encode_body(entry.delivery) for entry in entries]
        keys = [entry_key(entry.delivery.head) for entry in entries]
        sizes = [len(body) for body in bodies]
        room = await self._room(sum(sizes))
        shards = self._shards.of(
            Entry(key.destination, (key.member, entry.due, body))
            for key, entry, body in zip(keys, entries, bodies, strict=True)
        )
        calls = []
        for shard in shards:
            calls.append(shard.call(room, self._bounds.destination))
            room -= sum(sizes[i] for i in shard.order)
        results: list[ParkResult] = [
            _PARK_RESULTS[reply] for reply in in_order(shards, await self._park(calls))
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
        entries = (Entry(claim.destination, (claim.count, claim.max_bytes)) for claim in claims)
        shards = self._shards.of(entries)
        first = (lease_ms(seconds), next(self._nonces))
        replies = await self._run(self._scripts.claim, shards, *first)
        claimed: list[Claimed] = []
        for shard, (token, taken) in zip(shards, replies, strict=True):
            for i, pairs in zip(shard.order, taken, strict=True):
                claimed += _claimed(claims[i].destination, token.decode(), pairs)
        return claimed

    async def finish(self, leases: Sequence[Lease]) -> None:
        entries = (
            Entry(lease.entry.destination, (lease.entry.member, lease.token)) for lease in leases
        )
        await self._run(self._scripts.finish, self._shards.of(entries))

    async def remove(self, settled: Sequence[Settled]) -> None:
        """What lies in shards that hold nothing costs next to nothing."""
        used = await self._used({self._shards.place(each.head.key).shard for each in settled})
        if used:
            entries = (
                entry
                for each in settled
                if self._shards.place(each.head.key).shard in used
                for entry in _removals(each)
            )
            await self._run(self._scripts.remove, self._shards.of(entries))

    async def has(self, entries: Sequence[EntryKey]) -> list[bool]:
        members: dict[DestinationKey, list[str]] = defaultdict(list)
        for entry in entries:
            members[entry.destination].append(entry.member)
        commands = (("ZMSCORE", self._shards.queue(key), *names) for key, names in members.items())
        found = {
            EntryKey(key, member)
            for (key, names), reply in zip(
                members.items(), await self._pipe.send(request(*commands)), strict=True
            )
            for member, score in zip(names, checked(reply), strict=True)
            if score is not None
        }
        return [entry in found for entry in entries]

    async def door(self, destination: DestinationKey, seconds: float) -> None:
        closed = round(min(seconds, MAX_DOOR) * 1000)
        shards = self._shards.of([Entry(destination, (closed,))])
        await self._run(self._scripts.door, shards)

    async def due(self, shards: Collection[int], limit: Mapping[int, int]) -> Look:
        looks = [self._look(shard, limit.get(shard, 1)) for shard in shards]
        packed = b"".join((self._time.packed, *looks))
        replies = await self._pipe.send(Request(packed, 1 + len(looks)))
        now = _ms(checked(replies[0]))
        # Mostly all are empty, and this is what an idle worker does.
        return Look(now, [due for heads in replies[1:] if heads for due in _due(checked(heads))])

    async def backoff(
        self, destinations: Collection[DestinationKey]
    ) -> dict[DestinationKey, Backoff]:
        fields: dict[int, list[DestinationKey]] = defaultdict(list)
        for destination in destinations:
            fields[self._shards.place(destination).shard].append(destination)
        commands = (
            (
                "HMGET",
                self._shards.key(shard, "backoff"),
                *(self._shards.place(key).name for key in keys),
            )
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
            place = self._shards.place(destination)
            arguments[place.shard] += (place.name, _backoff_field(value))
        calls = [
            Call([self._shards.key(shard, "backoff")], each) for shard, each in arguments.items()
        ]
        for reply in await scripts.run(self._pipe, self._scripts.backoff, calls):
            checked(reply)

    async def stats(self) -> ScheduleStats:
        shards = self._shards.all
        commands = [
            command
            for shard in shards
            for command in (
                ("HLEN", self._shards.key(shard, "body")),
                ("ZRANGE", self._shards.key(shard, "due"), 0, -1),
            )
        ]
        replies = [checked(reply) for reply in await self._pipe.send(request(*commands))]
        used = [destination_of(name) for names in replies[1::2] for name in names]
        leased = await self._run(
            self._scripts.leased, self._shards.of(Entry(key, ()) for key in used), _MAX_LEASE_MS
        )
        return ScheduleStats(sum(replies[::2]), await self._read_total(), sum(leased))

    async def intact_for(self) -> float | None:
        marked = await self._pipe.call("GET", self._sentinel)
        return None if marked is None else (await self._now() - int(marked)) / 1000

    async def mark(self) -> None:
        await self._pipe.call("SET", self._sentinel, str(await self._now()))

    async def _now(self) -> int:
        (told,) = await self._pipe.send(self._time)
        return _ms(checked(told))

    async def turn(self, owner: str, seconds: float) -> bool:
        """By the server's own clock, which tests don't set."""
        for_ms = ("PX", round(seconds * 1000))
        if await self._pipe.call("SET", self._turn, owner, "NX", *for_ms) is not None:
            return True
        if await self._pipe.call("GET", self._turn) != owner.encode():
            return False
        await self._pipe.call("SET", self._turn, owner, *for_ms)
        return True

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
        shards = self._shards.of(
            Entry(held.delivery.head.key, _holding(held, with_body=with_body)) for held in running
        )
        return in_order(shards, await self._run(self._scripts.hold, shards, *first))

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
        shards = self._shards.all
        commands = (("HGET", self._shards.key(shard, "bytes"), "") for shard in shards)
        replies = await self._pipe.send(request(*commands))
        return sum(int(checked(reply) or 0) for reply in replies)

    async def _run(
        self, script: Script, shards: Sequence[ShardCall], *first: Argument
    ) -> list[Reply]:
        """What `script` answered, one a shard; `first` are the arguments before the entries."""
        calls = [shard.call(*first) for shard in shards]
        return [checked(reply) for reply in await scripts.run(self._pipe, script, calls)]

    def _look_request(self, shard: int, limit: int) -> bytes:
        command = ("ZRANGE", self._shards.key(shard, "due"), 0, limit - 1, "WITHSCORES")
        return request(command).packed

    def _is_used_request(self, shard: int) -> bytes:
        return request(("EXISTS", self._shards.key(shard, "body"))).packed


_MAX_LEASE_MS = int(MAX_LEASE * 1000)

_PARK_RESULTS: dict[bytes, ParkResult] = {
    b"parked": "parked",
    b"kept": "kept",
    b"refused": "refused",
}


def _holding(held: Held, *, with_body: bool) -> tuple[Argument, ...]:
    head = held.delivery.head
    body = encode_body(held.delivery) if with_body or held.lease is None else b""
    return (member_of(head, head.round), held.lease.token if held.lease else "", body)


def _removals(settled: Settled) -> Iterator[Entry]:
    head, last = settled.head, settled.up_to_attempt
    if last is not None:
        yield Entry(head.key, (member_of(head, head.round), last))
        return
    for round_ in range(head.round + 1):
        yield Entry(head.key, (member_of(head, round_), ""))


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


def _ms(told: Reply) -> int:
    """Of what TIME says."""
    seconds, micros = told
    return int(seconds) * 1000 + int(micros) // 1000


def _due(heads: list[bytes]) -> Iterator[Due]:
    for name, score in zip(heads[::2], heads[1::2], strict=True):
        yield Due(destination_of(name), math.ceil(float(score)))


def _backoff_field(value: Backoff | None) -> str:
    return f"{value.failures} {value.since} {value.open_until}" if value else ""
