"""Keys of NATS: how a user signs what the server asks, with Ed25519.

A seed is base32 of two bytes that say what it is, 32 of the key, and a CRC-16; a `.creds` file has
one beside the JWT that an account gave the user.
"""

import base64
import re
from binascii import crc_hqx
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED, _USER = 18 << 3, 20 << 3
_CREDS = re.compile(
    r"BEGIN NATS USER JWT-+\s*([A-Za-z0-9_.-]+?)\s*-{3,}END NATS USER JWT-"
    r".*BEGIN USER NKEY SEED-+\s*([A-Z2-7]+)\s*-{3,}END USER NKEY SEED-",
    re.DOTALL,
)


class NatsKey(NamedTuple):
    """A user's: the 32 bytes, and the JWT if an account gave one."""

    secret: bytes
    jwt: str | None = None

    @property
    def public(self) -> str:
        """As servers know the user."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        raw = self._private().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b32encode(checked(bytes([_USER]) + raw)).decode().rstrip("=")

    def signature(self, nonce: str) -> bytes:
        """Of what the server sent to be signed."""
        return base64.b64encode(self._private().sign(nonce.encode()))

    def _private(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.secret)


def of_seed(seed: str, jwt: str | None = None) -> NatsKey:
    """Raises ValueError for what is no user's seed."""
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except ValueError:
        raw = b""
    if len(raw) != 36 or checked(raw[:-2]) != raw or _kind(raw) != (_SEED, _USER):
        raise ValueError("the seed of a user's nkey, SU…")
    return NatsKey(raw[2:-2], jwt)


def of_creds(text: str) -> NatsKey:
    """Of the contents of a `.creds` file. Raises ValueError."""
    found = _CREDS.search(text)
    if found is None:
        raise ValueError("the contents of a .creds file: a user's JWT and the seed of its nkey")
    return of_seed(found[2], jwt=found[1])


def _kind(raw: bytes) -> tuple[int, int]:
    """The prefixes of a seed, and of the key that it is the seed of."""
    return raw[0] & 0xF8, (raw[0] & 0x07) << 5 | (raw[1] & 0xF8) >> 3


def checked(raw: bytes) -> bytes:
    """With its checksum, as all keys are written."""
    return raw + crc_hqx(raw, 0).to_bytes(2, "little")
