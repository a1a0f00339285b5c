"""Payload and metadata in one JSON object, for services whose messages have no attributes."""

import base64
from collections.abc import Mapping

import msgspec

_encode = msgspec.json.Encoder().encode


def enveloped(payload: bytes, metadata: Mapping[str, str]) -> bytes:
    """`{"metadata": {…}, "data": …}`: the payload as it was published where it is JSON, and else
    as `data_base64`. It is looked at, never written anew."""
    head = b'{"metadata":%b,' % _encode(metadata)
    if _is_json(payload):
        return head + b'"data":%b}' % payload
    return head + b'"data_base64":"%b"}' % base64.b64encode(payload)


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
