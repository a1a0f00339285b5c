"""TLS as people enter it: whom a destination trusts, and the certificate that it shows of itself.

A sink's config has `ca_certificate: Certificates | None = CA_CERTIFICATE`, after `tls` if it has
that; its credentials `client_certificate: Certificates | None = CLIENT_CERTIFICATE` and
`client_key: ClientKey = CLIENT_KEY`, in this order. All are PEM, as texts.
"""

import re
import ssl
from functools import lru_cache
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, Field, ValidationInfo

from event_router.consumers.sinks.fields import Secret
from event_router.consumers.tls import show, tls_context

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_BREAK = re.compile(r"\s|\\n")
_LINE = 64


class Encrypted(Protocol):
    """A config."""

    @property
    def tls(self) -> bool: ...

    @property
    def ca_certificate(self) -> str | None: ...


class Identified(Protocol):
    """Credentials."""

    @property
    def client_certificate(self) -> str | None: ...

    @property
    def client_key(self) -> str | None: ...


def tls_of(config: Encrypted, credentials: Identified) -> ssl.SSLContext | None:
    """As `tls_context`; None for a destination without TLS."""
    if not config.tls:
        return None
    given = config.ca_certificate, credentials.client_certificate, credentials.client_key
    return tls_context(*given) if any(given) else _of_system(ssl.get_default_verify_paths())


@lru_cache(maxsize=1)
def _of_system(_: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    """One for all who have nothing of their own: it takes 40 ms of CPU and 800 kB."""
    return tls_context(None)


def _blocks(text: str, *, kind: str) -> str:
    """The blocks of PEM alone; with line breaks, which a form's field of one line drops, and
    without the parameters that OpenSSL writes before a key."""
    found = [(name, _BREAK.sub("", body)) for name, body in _BLOCK.findall(text)]
    blocks = [(name, body) for name, body in found if not name.endswith("PARAMETERS")]
    if not blocks or any(not name.endswith(kind) for name, _ in blocks):
        raise ValueError(f"PEM, -----BEGIN {kind}-----")
    return "".join(map(_block, *zip(*blocks, strict=True)))


def _block(name: str, body: str) -> str:
    lines = [body[at : at + _LINE] for at in range(0, len(body), _LINE)]
    return "\n".join((f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""))


def _certificates(text: str, info: ValidationInfo) -> str:
    if info.data.get("tls") is False:
        raise ValueError("left out where tls is false")
    pem = _blocks(text, kind="CERTIFICATE")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except ssl.SSLError:
        raise ValueError("one or more certificates as PEM") from None
    return pem


def _client_key(text: str | None, info: ValidationInfo) -> str | None:
    certificate = info.data.get("client_certificate")
    if text is None and certificate is None:
        return None
    if text is None or certificate is None:
        raise ValueError("entered together with client_certificate, or neither of them")
    pem = _blocks(text, kind="PRIVATE KEY")
    try:
        show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, pem)
    except ssl.SSLError:
        raise ValueError("the key of client_certificate, as PEM and not encrypted") from None
    return pem


Certificates = Annotated[Secret, AfterValidator(_certificates)]
"""Certificates as PEM; not where the field `tls` before it is false."""

ClientKey = Annotated[Secret | None, AfterValidator(_client_key)]
"""The private key of the field `client_certificate` before it, as PEM; both or neither."""

CA_CERTIFICATE: Any = Field(
    None,
    title="CA certificate",
    description="PEM. With TLS: the authority, or several, that the server's certificate has to be"
    " by; those that the system knows when empty.",
)
CLIENT_CERTIFICATE: Any = Field(
    None,
    title="Client certificate",
    description="PEM, with its chain. For servers that ask who comes, over TLS.",
)
CLIENT_KEY: Any = Field(
    None,
    title="Client key",
    description="PEM, not encrypted: the client certificate's.",
    repr=False,
    validate_default=True,
)
