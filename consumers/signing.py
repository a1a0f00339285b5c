"""Signatures, HMAC-SHA256 over the bytes exactly as they are sent.

`v1` is the symmetric scheme of Standard Webhooks 1.0.0, `v0` Outpost's. During a rotation there is
one signature for each secret that is still good.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterable

from event_router.schemas.errors import InvalidValue

PREFIX = "whsec_"
MIN_KEY_BYTES = 24
MAX_KEY_BYTES = 64
MAX_TEXT_KEY = 1024
_RANDOM_BYTES = 32


def new_secret() -> str:
    """A secret that nobody else has. Hexadecimal digits are base64 too, so that it is good in
    either scheme."""
    return PREFIX + secrets.token_hex(_RANDOM_BYTES)


def key_of(secret: str, field: str = "secret") -> bytes:
    """The key that a secret stands for. Raises InvalidValue, which doesn't show the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        expected = f"{PREFIX} and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes in base64"
        raise InvalidValue(field, "***", expected)
    return key


def text_key_of(secret: str, field: str = "secret") -> bytes:
    """The key of the scheme `v0`: the secret as it stands. Raises InvalidValue as `key_of`."""
    key = secret.encode()
    if not key.strip() or len(key) > MAX_TEXT_KEY:
        raise InvalidValue(field, "***", f"1 to {MAX_TEXT_KEY} bytes of text")
    return key


def signature(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature a key, in order.

    `message_id` is what the header `webhook-id` says, `timestamp` that of the attempt in seconds.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(f"v1,{_signed(key, signed)}" for key in keys)


def body_signature(keys: Iterable[bytes], body: bytes) -> str:
    """The value of `x-outpost-signature`: `v0=` and one signature a key, in order."""
    return "v0=" + ",".join(hmac.digest(key, body, "sha256").hex() for key in keys)


def _signed(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
