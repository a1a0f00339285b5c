"""An operator of NATS, as `nsc` would make one: keys, and JWTs that are signed with them."""

import base64
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from event_router.consumers.sinks.nats_keys import checked

_SEED = 18 << 3
_UNLIMITED = ("subs", "data", "payload")
_ACCOUNT_UNLIMITED = (
    *_UNLIMITED, "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage", "streams",
    "consumer",
)  # fmt: skip


@dataclass(frozen=True)
class Keys:
    """Of an Operator, an Account or a User: a seed, and the public key."""

    letter: str
    secret: bytes = field(default_factory=lambda: os.urandom(32))

    @property
    def _prefix(self) -> int:
        return {"O": 14, "A": 0, "U": 20}[self.letter] << 3

    @property
    def public(self) -> str:
        key = Ed25519PrivateKey.from_private_bytes(self.secret).public_key()
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return _base32(bytes([self._prefix]) + raw)

    @property
    def seed(self) -> str:
        kind = bytes([_SEED | self._prefix >> 5, (self._prefix & 0x1F) << 3])
        return _base32(kind + self.secret)

    def signature(self, nonce: str) -> bytes:
        """As the library wants it."""
        return base64.b64encode(self._sign(nonce))

    def _sign(self, text: str) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.secret).sign(text.encode())

    def signed(self, name: str, subject: "Keys", claims: dict[str, Any]) -> str:
        """A JWT by these keys."""
        body = {
            "jti": name, "iat": 1_700_000_000, "iss": self.public, "name": name,
            "sub": subject.public, "nats": {"version": 2, **claims},
        }  # fmt: skip
        text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(body)}"
        return f"{text}.{_base64(self._sign(text))}"


class Accounts:
    """An operator with an account that has JetStream, and users in it."""

    def __init__(self) -> None:
        self._operator, self._account, self._system = Keys("O"), Keys("A"), Keys("A")

    @property
    def settings(self) -> str:
        """The server's."""
        operator = self._operator.signed("operator", self._operator, {"type": "operator"})
        unlimited = {**dict.fromkeys(_ACCOUNT_UNLIMITED, -1), "wildcards": True}
        account = self._operator.signed(
            "account", self._account, {"type": "account", "limits": unlimited}
        )
        few = {**unlimited, "mem_storage": 0, "disk_storage": 0}
        system = self._operator.signed("system", self._system, {"type": "account", "limits": few})
        return (
            f"operator: {operator}\nresolver: MEMORY\nsystem_account: {self._system.public}\n"
            f"resolver_preload: {{\n{self._account.public}: {account}\n"
            f"{self._system.public}: {system}\n}}\n"
        )

    def jwt(self, user: Keys) -> str:
        claims = {"type": "user", "pub": {}, "sub": {}, **dict.fromkeys(_UNLIMITED, -1)}
        return self._account.signed("user", user, claims)

    def creds(self, user: Keys) -> str:
        """What a `.creds` file of the user's has in it."""
        return (
            f"-----BEGIN NATS USER JWT-----\n{self.jwt(user)}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


def _base32(raw: bytes) -> str:
    return base64.b32encode(checked(raw)).decode().rstrip("=")


def _part(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
