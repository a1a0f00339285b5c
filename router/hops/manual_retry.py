"""The hop `retry`: a person wants a delivery tried again.

It is a round of its own with one attempt, so the automatic schedule stays as it was, and it works
when that is spent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from event_router.consumers.ports import Producer
from event_router.router.store.log_ports import LoggedDelivery
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import TooLarge
from event_router.schemas.topics import Topics
from event_router.schemas.wire import delivery_message


@dataclass(frozen=True, slots=True)
class ManualRetry:
    """`clock` gives ms since the epoch, `deadline` is what Kafka has to acknowledge in (s)."""

    topics: Topics
    producer: Producer
    clock: Callable[[], int]
    deadline: float = 10.0

    async def __call__(self, last: LoggedDelivery) -> None:
        """On return the delivery is in `deliveries` again, whatever became of its last round.

        Raises TooLarge, and Unavailable: then nobody knows, and asking again may deliver twice.
        """
        again = Delivery(
            msgspec.structs.replace(
                last.head, round=last.head.round + 1, attempt=1, began=self.clock(), manual=True
            ),
            last.data,
        )
        message = delivery_message(again, self.topics)
        (sent,) = await self.producer.send((message,), self.deadline)
        if isinstance(sent, TooLarge):
            raise sent
