"""A small batch that unpacks to a lot is read as one record that says so, whoever reads it."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from event_router.consumers.kafka.records import Batches
from event_router.consumers.kafka.unpacking import MOST, unread

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
PACKS_WELL = ["gzip", "lz4", "zstd"]


def batch_of(codec: int, *values: bytes) -> bytes:
    build = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=10 * MOST,
    )
    for number, value in enumerate(values):
        build.append(number, 7, None, value, [])
    return bytes(build.build())


@pytest.mark.parametrize("codec", ["none", *CODECS])
def test_an_ordinary_batch_is_read_whole(codec: str) -> None:
    values = [b'{"n": %d, "text": "%s"}' % (number, b"x" * 2_000) for number in range(500)]
    batch = batch_of(CODECS.get(codec, 0), *values)
    assert unread(memoryview(batch)) is None
    assert [one.value for one in Batches(batch).next_batch()] == values


@pytest.mark.parametrize("codec", PACKS_WELL)
def test_one_that_unpacks_to_too_much_is_one_record_that_says_so(codec: str) -> None:
    batch = batch_of(CODECS[codec], b"first", bytes(MOST), b"last")
    assert len(batch) < MOST / 200
    batches = Batches(batch + batch_of(0, b"behind"))
    first = batches.next_batch()
    assert first.validate_crc()
    (record,) = first
    assert (record.offset, record.timestamp, record.key, record.value) == (2, 7, None, None)
    ((name, why),) = record.headers
    assert name == "unread"
    assert why.startswith(b"offsets 0 to 2 were not read")
    assert [one.value for one in batches.next_batch()] == [b"behind"]


@pytest.mark.parametrize("codec", PACKS_WELL)
def test_one_that_cannot_be_unpacked_is_unread_too(codec: str) -> None:
    batch = bytearray(batch_of(CODECS[codec], *[bytes(1_000)] * 80_000))
    batch[70:] = b"x" * (len(batch) - 70)
    assert unread(memoryview(bytes(batch))) is not None
