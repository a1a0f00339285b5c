"""Producers compress: whatever way Kafka knows is read, and what is larger unpacked than the router
may write is dead, visibly."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from event_router.consumers.kafka.unpacking import MOST
from tests import services
from tests.test_loop_live import TENANT, Loop, binary, loop

LARGE = b'{"a": "%s"}' % (b"x" * 6_000_000)


async def _write(here: Loop, compression: str, *names: str, data: bytes = b"{}") -> None:
    """As one batch for each partition, by a client that is not ours."""
    producer = AIOKafkaProducer(
        bootstrap_servers=here.kafka.bootstrap,
        compression_type=compression,
        max_request_size=2 * MOST,
        linger_ms=50,
    )
    await producer.start()
    try:
        sent = []
        for name in names:
            one = binary(here.system.topics.events, name, data)
            sent.append(
                await producer.send(one.topic, one.value, key=one.key, headers=list(one.headers))
            )
        for future in sent:
            await future
    finally:
        await producer.stop()


@pytest.mark.timeout(120)
async def test_events_are_read_however_they_are_compressed(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("healthy")
        ids: set[str] = set()
        for compression in ("gzip", "snappy", "lz4", "zstd"):
            names = [f"{compression}-{number}" for number in range(20)]
            await _write(here, compression, *names)
            ids.update(names)
        await _write(here, "gzip", "large", data=LARGE)
        await _write(here, "zstd", "larger than any memory", data=bytes(MOST + 1))
        await _write(here, "zstd", "after")
        ids.add("after")
        await here.until(lambda: here.receiver.delivered("/healthy").keys() == ids)

        async def died() -> list[dict[str, object]]:
            return list((await here.ask("GET", "/dead"))["models"])

        async def noted() -> bool:
            return len(await died()) == 2

        await here.until(noted)
        reasons = {str(dead["reason"]): dead["place"] for dead in await died()}
        assert reasons.keys() == {"message_too_large", "tombstone"}
        place = str(reasons["tombstone"])
        assert "unread: offsets" in await here.system.command("dead", "show", place)
