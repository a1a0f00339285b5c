"""Replaying the dead: a record enters again the hop that gave it up, a delivery `deliveries`, with
a new round. Sent → marked in the log, so that replaying it twice does nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from event_router.consumers.ports import Producer
from event_router.router.store.log_ports import DeadFilter, Log, LoggedDead
from event_router.router.store.paging import Paging
from event_router.schemas.attempt import Dead
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.errors import TooLarge
from event_router.schemas.record import Message
from event_router.schemas.topics import Topics
from event_router.schemas.wire import delivery_message

PAGE = 100


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

        What was counted is in Kafka on return. Raises TooLarge, and Unavailable: then some may
        have entered without being marked, and replaying them again may deliver twice.
        """
        now = self.clock()
        known = wanted.time.lte
        time = msgspec.structs.replace(wanted.time, lte=now if known is None else min(now, known))
        unreplayed = msgspec.structs.replace(wanted, replayed=False, time=time)
        replayed = 0
        while replayed < most:
            paging = Paging(min(PAGE, most - replayed), descending=False)
            page = await self.log.dead(unreplayed, paging)
            await self._replay(page.models)
            replayed += len(page.models)
            if page.next is None:
                return Replayed(replayed, more=False)
        return Replayed(replayed, more=True)

    async def _replay(self, found: Sequence[LoggedDead]) -> None:
        # By what it becomes: several rounds of a delivery that died become one new round.
        messages: dict[object, Message] = {}
        for one in found:
            dead = await self.log.dead_record(one.place, one.destination)
            if dead is not None and not _is_note(dead):
                messages[_identity(one, dead)] = await self._message(dead)
        for sent in await self.producer.send(list(messages.values()), self.deadline):
            if isinstance(sent, TooLarge):
                raise sent
        await self.log.mark_replayed([one.key for one in found], self.clock())

    async def _message(self, dead: Dead) -> Message:
        head = dead.head
        if head.delivery is not None:
            return await self._next_round(head.delivery, dead.value or b"")
        routed = head.place.topic == self.topics.events
        partition = None if routed else head.place.partition
        return Message(head.place.topic, dead.key, dead.value, head.headers, partition)

    async def _next_round(self, head: DeliveryHead, data: bytes) -> Message:
        last = await self.log.last_round(head.origin, head.destination)
        again = msgspec.structs.replace(
            head,
            round=max(head.round, last or 0) + 1,
            attempt=1,
            began=self.clock(),
            manual=False,
        )
        return delivery_message(Delivery(again, data), self.topics)


def _is_note(dead: Dead) -> bool:
    """It says what went missing, and has nothing to replay."""
    return dead.key is None and dead.value is None and not dead.head.headers


def _identity(one: LoggedDead, dead: Dead) -> object:
    delivery = dead.head.delivery
    return one.key if delivery is None else (delivery.origin, delivery.destination)
