"""Secrets at rest: AES-256-GCM under named keys, so that keys can be rotated.

A sealed text is `name:base64(nonce + ciphertext)`. The first key seals, all of them open; the
destination is authenticated along, so that nobody can move a secret to another one.
"""

import base64
import binascii
import os
from collections.abc import Iterable
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import InvalidValue, Unavailable

KEY_BYTES = 32
_NONCE_BYTES = 12
_FIELD = "ROUTER_SECRETS_KEYS"
_EXPECTED = f"name:base64 of {KEY_BYTES} bytes, comma-separated"


class Secrets:
    """Seals and opens under `keys`, each `name:base64` (ROUTER_SECRETS_KEYS); the first seals.

    Raises InvalidValue when a key isn't one, or there is none.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        read = [_read_key(key) for key in keys]
        self._keys = dict(read)
        if not read:
            raise InvalidValue(_FIELD, "", _EXPECTED)
        if len(self._keys) < len(read):
            raise InvalidValue(
                _FIELD, ",".join(f"{name}:…" for name, _ in read), "without a name twice"
            )
        self._name = read[0][0]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the keys, the one that seals first."""
        return tuple(self._keys)

    def seal(self, owner: DestinationKey, secret: dict[str, Any]) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        plain = msgspec.json.encode(secret)
        box = nonce + self._keys[self._name].encrypt(nonce, plain, _bound_to(owner))
        return f"{self._name}:{base64.b64encode(box).decode()}"

    def open(self, owner: DestinationKey, sealed: str) -> dict[str, Any]:
        """What was sealed; Unavailable when its key isn't here, it isn't `owner`'s, or it is no
        object."""
        name, text = key_name(sealed), sealed.partition(":")[2]
        key = self._keys.get(name)
        if key is None:
            raise Unavailable("secrets", f"the key {name!r} isn't in {_FIELD}: add it at the end")
        try:
            box = base64.b64decode(text, validate=True)
            plain = key.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], _bound_to(owner))
            return msgspec.json.decode(plain, type=dict[str, Any])
        except (InvalidTag, ValueError) as error:  # base64's and msgspec's are ValueErrors, too
            detail = f"the credentials of {owner.tenant}/{owner.destination} don't open with {name}"
            raise Unavailable("secrets", detail) from error


def key_name(sealed: str) -> str:
    """The name of the key that sealed it."""
    return sealed.partition(":")[0]


def _read_key(text: str) -> tuple[str, AESGCM]:
    name, colon, encoded = text.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not name or not colon or len(key) != KEY_BYTES:
        raise InvalidValue(_FIELD, f"{name if colon else ''}:…", _EXPECTED)
    return name, AESGCM(key)


def _bound_to(owner: DestinationKey) -> bytes:
    # Ids have no slash, so no two owners look the same.
    return f"{owner.tenant}/{owner.destination}".encode()
