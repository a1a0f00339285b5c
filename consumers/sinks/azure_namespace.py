"""Where a connection string of Azure leads, and the name that its certificate has to have."""

import re
import ssl
from typing import Any, NamedTuple

SECURE_PORT, EMULATOR_PORT = 5671, 5672
_ENDPOINT = re.compile(r"(?:^|;)Endpoint=sb://([A-Za-z0-9.-]+)(?::([0-9]{1,5}))?/?(?:;|$)")
_EMULATOR = re.compile(r"(?:^|;)UseDevelopmentEmulator=true(?:;|$)")


class Namespace(NamedTuple):
    """What a connection string says of where it leads."""

    host: str
    port: int
    tls: bool


def namespace_of(connection_string: str) -> Namespace:
    found = _ENDPOINT.search(connection_string)
    if found is None:
        raise ValueError("Endpoint=sb://host")
    tls = _EMULATOR.search(connection_string) is None
    return Namespace(found[1], int(found[2] or (SECURE_PORT if tls else EMULATOR_PORT)), tls)


def checked(text: str) -> str:
    if _ENDPOINT.search(text) is None:
        raise ValueError("a connection string, which has Endpoint=sb://…")
    return text


class _Named(ssl.SSLContext):
    """Of a host whose address is connected to: it is the host's certificate that counts."""

    host: str

    def wrap_bio(self, *given: Any, **more: Any) -> ssl.SSLObject:
        return super().wrap_bio(*given, **{**more, "server_hostname": self.host})


def tls_for(host: str) -> ssl.SSLContext:
    context = _Named(ssl.PROTOCOL_TLS_CLIENT)
    context.host = host
    context.load_default_certs()
    return context
