"""Sinks whose service takes several deliveries in one call."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from event_router.consumers.ports import Result
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer, Rejected, TooLarge, Unavailable


class Batched(Protocol):
    """To be inherited by a BatchSink: `deliver` is `deliver_many` of one."""

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]: ...

    async def deliver(self, delivery: Delivery) -> Answer:
        (result,) = await self.deliver_many([delivery])
        if isinstance(result, Exception):
            raise result
        return result


class Part(NamedTuple):
    """What a delivery is in a call, and how many bytes it takes of what the service allows."""

    content: Any
    size: int


class InParts(Batched, Protocol):
    """To be inherited by a BatchSink whose service limits the bytes of a call: a delivery takes
    more of them than it weighs, with escapes, base64 and the destination's own metadata."""

    def most_bytes(self) -> int:
        """Of a call."""
        ...

    def attempt(self) -> AbstractAsyncContextManager[None]:
        """The time that all calls together have."""
        ...

    def part(self, delivery: Delivery) -> Part | Rejected:
        """What the service can't take isn't sent: it would spoil the others."""
        ...

    async def call(self, contents: Sequence[Any]) -> Sequence[Result]:
        """One result each, in order. Raises Unavailable for all of them, TooLarge when together
        they are too large after all."""
        ...

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """In as few calls as their sizes allow."""
        parts = [self.part(delivery) for delivery in deliveries]
        results: list[Result] = []
        async with self.attempt():
            for pack in _packs((part for part in parts if isinstance(part, Part)), self):
                results += await self._called(pack)
        said = iter(results)
        return [next(said) if isinstance(part, Part) else part for part in parts]

    async def _called(self, contents: Sequence[Any]) -> Sequence[Result]:
        """When they are too large after all, one by one."""
        try:
            return await self.call(contents)
        except Unavailable as trouble:
            return [trouble] * len(contents)
        except TooLarge as refusal:
            if len(contents) == 1:
                return [refusal]
        return [result for one in contents for result in await self._called([one])]


def _packs(parts: Iterable[Part], sink: InParts) -> Iterator[list[Any]]:
    pack: list[Any] = []
    room = sink.most_bytes()
    for part in parts:
        if pack and part.size > room:
            yield pack
            pack, room = [], sink.most_bytes()
        pack.append(part.content)
        room -= part.size
    if pack:
        yield pack
