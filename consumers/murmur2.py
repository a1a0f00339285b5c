"""The hash that Kafka's clients pick partitions with: as in the Java client, seed and all."""

import struct

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C


def murmur2(data: bytes) -> int:
    """32 bits, unsigned."""
    length = len(data)
    words = length // 4
    state = _SEED ^ length
    for word in struct.unpack_from(f"<{words}I", data):
        mixed = word * _M & _MASK
        state = (state * _M & _MASK) ^ ((mixed ^ (mixed >> 24)) * _M & _MASK)
    tail = data[words * 4 :]
    if tail:
        state = (state ^ int.from_bytes(tail, "little")) * _M & _MASK
    state = (state ^ (state >> 13)) * _M & _MASK
    return state ^ (state >> 15)


def partition_of_key(key: bytes, partitions: int) -> int:
    """The partition that the default partitioner picks."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
