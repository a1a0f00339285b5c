"""Sinks whose service takes several deliveries in one call."""

from collections.abc import Sequence
from typing import Protocol

from event_router.consumers.ports import Result
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer


class Batched(Protocol):
    """To be inherited by a BatchSink: `deliver` is `deliver_many` of one."""

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]: ...

    async def deliver(self, delivery: Delivery) -> Answer:
        (result,) = await self.deliver_many([delivery])
        if isinstance(result, Exception):
            raise result
        return result
