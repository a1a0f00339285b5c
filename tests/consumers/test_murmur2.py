from aiokafka.partitioner import murmur2 as theirs
from hypothesis import given
from hypothesis import strategies as st

from event_router.consumers.murmur2 import murmur2, partition_of_key


@given(st.binary(max_size=70))
def test_it_is_the_hash_that_other_clients_use(key: bytes) -> None:
    assert murmur2(key) == theirs(key) & 0xFFFFFFFF


def test_a_key_has_its_partition() -> None:
    assert partition_of_key(b"order-1", 16) == (theirs(b"order-1") & 0x7FFFFFFF) % 16
