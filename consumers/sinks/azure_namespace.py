"""Where a connection string of Azure leads, and the name that its certificate has to have."""

import re
import ssl
from typing import Any, NamedTuple

SECURE_PORT, EMULATOR_PORT = 5671, 5672
_ENDPOINT = re.compile(r"(?:^|;)Endpoint=sb://([A-Za-z0-9.-]+)(?::([0-9]{1,5}))?/?(?:;|$)")
_EMULATOR = re.compile(r"(?:^|;)UseDevelopmentEmulator=true(?:;|$)")
_KEY_NAME, _KEY, _SIGNATURE = "sharedaccesskeyname", "sharedaccesskey", "sharedaccesssignature"


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
    """A connection string that the library will take, too."""
    if _ENDPOINT.search(text) is None:
        raise ValueError("a connection string, which has Endpoint=sb://…")
    parts = _parts(text)
    if not all(parts.values()):
        raise ValueError("a connection string: Name=value, separated by semicolons")
    if bool(parts.get(_KEY_NAME)) != bool(parts.get(_KEY)):
        raise ValueError("a connection string with SharedAccessKeyName and SharedAccessKey")
    if bool(parts.get(_KEY)) == bool(parts.get(_SIGNATURE)):
        raise ValueError(
            "a connection string with SharedAccessKeyName and SharedAccessKey, "
            "or else with SharedAccessSignature"
        )
    return text


def entity_of(connection_string: str) -> str | None:
    """The only queue or topic that it is for."""
    return _parts(connection_string).get("entitypath")


def _parts(connection_string: str) -> dict[str, str]:
    parts = (part.partition("=") for part in connection_string.strip().rstrip(";").split(";"))
    return {name.lower(): value for name, _, value in parts}


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
