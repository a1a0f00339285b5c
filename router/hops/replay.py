"""Replaying the dead: a record enters again the hop that gave it up, a delivery `deliveries`, with
a new round. Claimed in the log → sent → marked there, so that replaying it twice does nothing, at
the same time neither; and after a crash in between it is sent again as the same round.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from event_router.consumers.ports import Producer
from event_router.router.store.log_ports import DeadFilter, DeadKey, Log, LoggedDead
from event_router.router.store.paging import Paging
from event_router.schemas.attempt import Dead
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.errors import TooLarge
from event_router.schemas.record import Message
from event_router.schemas.topics import Topics
from event_router.schemas.wire import delivery_message

log = logging.getLogger(__name__)

PAGE = 100
CLAIM = 60.0
"""Seconds until the claim of a process that died counts no more; far more than sending takes."""


class Replayed(msgspec.Struct, frozen=True):
    """How many entered again, and whether there are more that match."""

    replayed: int
    more: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """`clock` gives ms since the epoch, `deadline` is what Kafka has to acknowledge in (s)."""

    topics: Topics
    log: Log
    producer: Producer
    clock: Callable[[], int]
    deadline: float = 10.0

    async def __call__(self, wanted: DeadFilter, most: int) -> Replayed:
        """Up to `most` of those that match and haven't been replayed, the oldest first. What died
        after the call began is left out: what dies again at once would be replayed for ever.

        What was counted is in Kafka on return. Those that somebody else replays now are left out,
        and so are those that are too large; when there are no others that raises TooLarge. Raises
        Unavailable: then some may have entered without being marked, and replaying them again may
        deliver twice, as the same round.
        """
        now = self.clock()
        known = wanted.time.lte
        time = msgspec.structs.replace(wanted.time, lte=now if known is None else min(now, known))
        unreplayed = msgspec.structs.replace(wanted, replayed=False, time=time)
        replayed, after = 0, None
        refusals: list[TooLarge] = []
        while replayed < most:
            paging = Paging(min(PAGE, most - replayed), descending=False, next=after)
            page = await self.log.dead(unreplayed, paging)
            sent, refused = await self._replay(page.models)
            replayed += sent
            refusals += refused
            after = page.next
            if after is None:
                break
        if refusals and not replayed:
            raise refusals[0]
        return Replayed(replayed, more=after is not None)

    async def _replay(self, found: Sequence[LoggedDead]) -> tuple[int, list[TooLarge]]:
        """How many were sent; and why others weren't, which stay as they are."""
        records = {one.key: await self.log.dead_record(*one.key) for one in found}
        rounds = {key: await self._next_round(dead) for key, dead in records.items()}
        now = self.clock()
        mine = await self.log.claim_replays(rounds, now, now + round(CLAIM * 1000))
        try:
            refused = await self._send({key: records[key] for key in mine}, mine)
        except BaseException:
            await self.log.release_replays(list(mine))
            raise
        sent = [key for key in mine if key not in refused]
        await self.log.mark_replayed(sent, self.clock())
        if refused:
            log.warning("replay.too_large", extra={"records": len(refused)})
            await self.log.release_replays(list(refused))
        return len(sent), list(refused.values())

    async def _next_round(self, dead: Dead | None) -> int:
        head = dead.head.delivery if dead else None
        if head is None:
            return 0
        last = await self.log.last_round(head.origin, head.destination)
        return max(head.round, last or 0) + 1

    async def _send(
        self, records: Mapping[DeadKey, Dead | None], rounds: Mapping[DeadKey, int]
    ) -> dict[DeadKey, TooLarge]:
        """Those that are too large; the others are in Kafka on return."""
        # By what it becomes: several rounds of a delivery that died become one new round.
        identities: dict[DeadKey, object] = {}
        messages: dict[object, Message] = {}
        for key, dead in records.items():
            if dead is not None and not _is_note(dead):
                identity = identities[key] = _identity(key, dead)
                messages[identity] = self._message(dead, rounds[key])
        sent = await self.producer.send(list(messages.values()), self.deadline)
        results = dict(zip(messages, sent, strict=True))
        return {
            key: result
            for key, identity in identities.items()
            if isinstance(result := results[identity], TooLarge)
        }

    def _message(self, dead: Dead, round_: int) -> Message:
        head = dead.head
        if head.delivery is not None:
            return self._as_round(round_, head.delivery, dead.value or b"")
        routed = head.place.topic == self.topics.events
        partition = None if routed else head.place.partition
        return Message(head.place.topic, dead.key, dead.value, head.headers, partition)

    def _as_round(self, round_: int, head: DeliveryHead, data: bytes) -> Message:
        again = msgspec.structs.replace(
            head, round=round_, attempt=1, began=self.clock(), manual=False
        )
        return delivery_message(Delivery(again, data), self.topics)


def _is_note(dead: Dead) -> bool:
    """It says what went missing, and has nothing to replay."""
    return dead.key is None and dead.value is None and not dead.head.headers


def _identity(key: DeadKey, dead: Dead) -> object:
    delivery = dead.head.delivery
    return key if delivery is None else (delivery.origin, delivery.destination)
