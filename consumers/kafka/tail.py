"""What lies in a topic from given offsets on, read once and to its end, without a group."""

from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from event_router.consumers.kafka.config import KafkaConfig
from event_router.consumers.kafka.records import read_odd_headers, record_of
from event_router.consumers.kafka.trouble import ours
from event_router.schemas.record import Record

_PATIENCE_MS = 1_000


async def read_tail(
    config: KafkaConfig, topic: str, begins: Mapping[int, int]
) -> AsyncIterator[list[Record]]:
    """Lists of records, from the offset `begins` says of a partition (a partition it lacks isn't
    read) to the ends as they are now, or a little further.

    An offset that isn't there any more, or not yet, since the topic was made anew, counts as the
    earliest one. Raises Unavailable.
    """
    if not begins:
        return
    read_odd_headers()
    consumer = AIOKafkaConsumer(
        **config.connection(),
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=config.fetch_wait_ms,
    )
    try:
        with ours(config, topic):
            await consumer.start()
            left = await _positions(consumer, topic, begins)
        while left:
            with ours(config, topic):
                fetched = await consumer.getmany(timeout_ms=_PATIENCE_MS)
                for place, end in list(left.items()):
                    if await consumer.position(place) >= end:
                        consumer.pause(place)
                        del left[place]
            yield [record_of(one) for records in fetched.values() for one in records]
    finally:
        await consumer.stop()


async def _positions(
    consumer: AIOKafkaConsumer, topic: str, begins: Mapping[int, int]
) -> dict[TopicPartition, int]:
    """Where each partition with something to read ends; the consumer stands where it begins.

    The embedded broker tells where the last batch begins instead: that batch is read whole all the
    same, and who asks to begin within it gets the partition from its earliest record on.
    """
    wanted = {TopicPartition(topic, number): begin for number, begin in begins.items()}
    first = await consumer.beginning_offsets(list(wanted))
    ends = await consumer.end_offsets(list(wanted))
    starts = {
        place: begin if first[place] <= begin <= ends[place] else int(first[place])
        for place, begin in wanted.items()
    }
    left = {place: int(ends[place]) for place in wanted if starts[place] < ends[place]}
    consumer.assign(list(left))
    for place in left:
        consumer.seek(place, starts[place])
    return left
