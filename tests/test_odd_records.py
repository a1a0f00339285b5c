"""A header's name may be any bytes: one that is not UTF-8 stops nobody who reads its partition."""

import gzip
import inspect
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.record.util import calc_crc32c

from event_router.consumers.kafka.records import Batches
from event_router.consumers.subscription import Reading, Subscription
from event_router.schemas.record import Record
from tests.faust.apps import Hops, running, settings
from tests.kafka_clients import config_of
from tests.services import Kafka, unique

PLACEHOLDER, ODD = b"??", b"\xff\xfe"
LENGTH_AT, CRC_AT, ATTRIBUTES_AT, RECORDS_AT = 8, 17, 21, 61
GZIP = 1
HEADERS = [[("k", b"v")], [("\\xff\\xfe", b"v"), ("n", None)], []]


def odd_batch() -> bytearray:
    """Three records, of which the second has a header whose name is not UTF-8."""
    build = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=10_000,
    )
    build.append(0, 1, None, b"a", [("k", b"v")])
    build.append(1, 1, b"key", b"b", [(PLACEHOLDER.decode(), b"v"), ("n", None)])
    build.append(2, 1, None, b"c", [])
    return sealed(build.build().replace(PLACEHOLDER, ODD))


def zipped(batch: bytearray) -> bytearray:
    whole = batch[:RECORDS_AT] + gzip.compress(batch[RECORDS_AT:])
    struct.pack_into(">h", whole, ATTRIBUTES_AT, GZIP)
    struct.pack_into(">i", whole, LENGTH_AT, len(whole) - LENGTH_AT - 4)
    return sealed(whole)


def sealed(batch: bytearray) -> bytearray:
    struct.pack_into(">I", batch, CRC_AT, calc_crc32c(batch[ATTRIBUTES_AT:]))
    return batch


@pytest.mark.parametrize("written", [odd_batch(), zipped(odd_batch())], ids=["plain", "gzip"])
def test_every_record_of_the_batch_is_read(written: bytearray) -> None:
    batches = Batches(bytes(written * 2))
    for _ in range(2):
        assert batches.has_next()
        batch = batches.next_batch()
        assert batch.validate_crc()
        read = list(batch)
        assert [(one.offset, one.key, one.value) for one in read] == [
            (0, None, b"a"),
            (1, b"key", b"b"),
            (2, None, b"c"),
        ]
        assert [one.headers for one in read] == HEADERS
    assert not batches.has_next()
    assert batches.next_batch() is None


async def write_odd(kafka: Kafka, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        batch = producer.create_batch()
        for _ in range(3):
            batch.append(key=None, value=b"x", timestamp=1)
        batch.close()
        batch._build()
        batch._buffer = odd_batch()
        await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()


async def test_a_subscription_reads_on(kafka: Kafka) -> None:
    topic = unique()
    await kafka.make_topics({topic: 1})
    await write_odd(kafka, topic)
    records: list[Record] = []
    async with Subscription(
        [topic], topic, kafka=config_of(kafka), reading=Reading(drain=0.1)
    ) as subscription:
        while len(records) < 3:
            records += await anext(subscription)
        subscription.done(records)
    assert [list(record.headers) for record in records] == HEADERS


async def test_the_stream_reads_on(kafka: Kafka, tmp_path: Path) -> None:
    topic, hops = unique(), Hops()
    await kafka.make_topics({topic: 1})
    await write_odd(kafka, topic)
    async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: hops}):
        await hops.finished(3)
    assert hops.done == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (fetcher.Fetcher._proc_fetch_request, "records = MemoryRecords(part_data[-1])"),
        (fetcher.PartitionRecords._unpack_records, "for record in next_batch:"),
        (_DefaultRecordBatchPy._read_msg, 'buffer[pos : pos + h_key_len].decode("utf-8")'),
        (_DefaultRecordBatchPy._read_msg, "buffer = self._buffer"),
        (_DefaultRecordBatchPy._maybe_uncompress, "self._buffer = bytearray(uncompressed)"),
    ],
)
def test_the_code_that_we_lean_on_is_still_there(
    function: Callable[..., object], line: str
) -> None:
    assert line in inspect.getsource(function)
