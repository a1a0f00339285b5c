"""Signatures of Standard Webhooks 1.0.0, symmetric scheme `v1`.

Signed are the bytes `{id}.{timestamp}.{body}`, exactly as they are sent, with HMAC-SHA256. During
a rotation there is one signature for each secret that is still good.
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
_NEW_KEY_BYTES = 32


def new_secret() -> str:
    """A secret that nobody else has."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_NEW_KEY_BYTES)).decode()


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


def signature(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature a key, in order.

    `message_id` is what the header `webhook-id` says, `timestamp` that of the attempt in seconds.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(f"v1,{_signed(key, signed)}" for key in keys)


def _signed(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
