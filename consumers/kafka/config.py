"""How Kafka is reached, as values; no client is needed for them."""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from event_router.consumers import log_limit

_CLIENT_ID = "event-router"

Vet = Callable[[str], Awaitable[Sequence[object]]]
"""The addresses of a host; raises Unavailable for one that mustn't be reached."""


class GuardedId(str):
    """A client's id, which aiokafka hands to each connection, and so how we know whose it is."""

    __slots__ = ("vet",)

    vet: Vet

    @classmethod
    def of(cls, client_id: str, vet: Vet) -> "GuardedId":
        made = cls(client_id)
        made.vet = vet
        return made


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """How Kafka is reached. Times are in seconds unless the name says otherwise.

    `max_message_bytes` is what topics take that don't say otherwise: Kafka's own default. A writer
    asks `vet` about each broker that the cluster names; those of `bootstrap` the caller has asked
    about. `tls` stands in for the three files. A producer waits troubles out, but for those whose
    codes are in `at_once`: it raises these as soon as it knows.
    """

    bootstrap: str = "127.0.0.1:9092"
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    idempotent: bool = True
    fetch_wait_ms: int = 500
    session_timeout: float = 10.0
    request_timeout: float = 30.0
    max_message_bytes: int = 1_048_588
    vet: Vet | None = field(default=None, repr=False, compare=False)
    at_once: frozenset[str] = frozenset()

    def connection(self) -> dict[str, Any]:
        """What every client of aiokafka takes."""
        log_limit.limit("aiokafka", seconds=10.0)
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "client_id": GuardedId.of(_CLIENT_ID, self.vet) if self.vet else _CLIENT_ID,
            "request_timeout_ms": int(max(self.request_timeout, self.session_timeout) * 1000),
            "security_protocol": self.security.upper(),
        }
        if self.security.startswith("sasl"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        if self.security.endswith("ssl"):
            options["ssl_context"] = self._tls()
        return options

    def _tls(self) -> ssl.SSLContext:
        if self.tls:
            return self.tls
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context
