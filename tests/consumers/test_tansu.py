"""The client on the embedded broker, which knows less than Kafka."""

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin, NewTopicSpec
from event_router.consumers.subscription import Reading, Subscription
from event_router.schemas.record import Message, Place
from tests import services
from tests.kafka_clients import config_of, producing
from tests.waiting import until


def embedded(tansu: services.Tansu) -> KafkaConfig:
    return config_of(tansu, idempotent=False, fetch_wait_ms=20)


async def test_topics_are_made_written_to_and_read(tansu: services.Tansu) -> None:
    config, topic = embedded(tansu), services.unique("tansu")
    async with Admin(config) as admin:
        assert await admin.create([NewTopicSpec(topic, 4, {"retention.ms": "-1"})]) == [topic]
        assert await admin.create([NewTopicSpec(topic, 4)]) == []
        assert await admin.partitions([topic]) == {topic: 4}
    async with producing(config) as producer:
        messages = [
            Message(topic, b"k", b"%d" % number, [("head", b"h"), ("none", None)], number % 4)
            for number in range(40)
        ]
        places = await producer.send(messages)
    reading = Reading(commit_every=0.05)
    async with Subscription([topic], "g", kafka=config, reading=reading) as subscription:
        records = []
        async for some in subscription:
            records += some
            subscription.done(some)
            if len(records) == 40:
                break
        await until(lambda: subscription.lag == 0)
    assert {(r.partition, r.offset, r.timestamp, r.value) for r in records} == {
        (place.partition, place.offset, place.timestamp, message.value)
        for place, message in zip(places, messages, strict=True)
        if isinstance(place, Place)
    }
    assert records[0].headers == (("head", b"h"), ("none", None))
    async with Admin(config) as admin:
        assert set((await admin.committed("g", topic)).values()) == {10}
