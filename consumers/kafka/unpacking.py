"""How large a compressed batch is unpacked. Thirty kilobytes can come to a gigabyte, which whoever
reads the partition would have to hold, again and again."""

import struct
import zlib
from mmap import mmap
from types import ModuleType
from typing import NamedTuple

import cramjam

MOST = 64 << 20
"""Bytes that a batch may come to: an ordinary one of a megabyte is some ten times as large."""

_MAGIC_AT, _ATTRIBUTES_AT, _RECORDS_AT = 16, 21, 61
_HEAD = struct.Struct(">hiqq")  # attributes, last offset's delta, first and last timestamp
_BASE = struct.Struct(">q")
_CODEC = 0b111
_GZIP, _LZ4, _ZSTD = 1, 3, 4
# What a byte can come to at most; of Snappy too little to matter.
_RATIOS = {_GZIP: 1_032, _LZ4: 255, _ZSTD: MOST}
_GZIP_FORMAT = 31  # zlib's word for it


class Unread(NamedTuple):
    """What is read instead of a batch that is too large: its last record, without content, and why
    in a header."""

    offset: int
    timestamp: int
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_type: int = 0
    key: None = None
    value: None = None
    checksum: None = None


def unread(batch: memoryview) -> Unread | None:
    """None when the batch may be read as it is."""
    packed = batch[_RECORDS_AT:]
    attributes, last, _, timestamp = _HEAD.unpack_from(batch, _ATTRIBUTES_AT)
    if batch[_MAGIC_AT] < 2 or _fits(attributes & _CODEC, packed):
        return None
    (base,) = _BASE.unpack_from(batch)
    why = (
        f"offsets {base} to {base + last} were not read: {len(packed)} bytes unpack to over {MOST}"
    )
    return Unread(base + last, timestamp, (("unread", why.encode()),))


def _fits(codec: int, packed: memoryview) -> bool:
    if len(packed) * _RATIOS.get(codec, 0) <= MOST:
        return True
    if codec == _GZIP:
        return _gzip_fits(packed)
    return _unpacks_into(cramjam.zstd if codec == _ZSTD else cramjam.lz4, packed)


def _unpacks_into(codec: ModuleType, packed: memoryview) -> bool:
    with mmap(-1, MOST) as memory:  # of which only what is written to is taken
        try:
            codec.decompress_into(packed, memory)
        except cramjam.DecompressionError:
            return False
    return True


def _gzip_fits(packed: memoryview) -> bool:
    left, rest = MOST, bytes(packed)
    try:
        while rest and left > 0:
            unpacker = zlib.decompressobj(_GZIP_FORMAT)
            left -= len(unpacker.decompress(rest, left))
            if unpacker.unconsumed_tail:
                return False
            rest = unpacker.unused_data
    except zlib.error:
        return False
    return not rest
