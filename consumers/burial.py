"""What is given up goes to `dead`, whatever its size."""

import logging
from collections.abc import Sequence

from event_router.consumers.ports import Producer
from event_router.schemas.attempt import Dead, note_of
from event_router.schemas.errors import TooLarge
from event_router.schemas.topics import Topics
from event_router.schemas.wire import dead_message

log = logging.getLogger(__name__)


async def bury(dead: Sequence[Dead], producer: Producer, topics: Topics) -> None:
    """On return Kafka has acknowledged all. Of one that is larger than `dead` takes, a note is
    there."""
    if not dead:
        return
    sent = await producer.send([dead_message(one, topics) for one in dead])
    results = zip(dead, sent, strict=True)
    large = [one for one, result in results if isinstance(result, TooLarge)]
    if large:
        log.error("dead.too_large", extra={"records": len(large)})
        await producer.send([dead_message(note_of(one), topics) for one in large])
