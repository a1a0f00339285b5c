"""Where a request goes, and its head: what never changes of it is built once."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from event_router.consumers.http1.tls_contexts import TlsMaterial
from event_router.schemas.errors import Rejected, without_login

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_PATH_SAFE = "/:@!$&'()*+,;=-._~%"
_QUERY_SAFE = _PATH_SAFE + "?"
_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """What a connection leads to; connections to the same one are interchangeable."""

    tls: bool
    host: str
    port: int
    material: TlsMaterial | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, and the part of the request's head that is the same for each POST to it."""

    endpoint: Endpoint
    head: bytes


def target_of(
    url: str, headers: Iterable[tuple[str, str]] = (), material: TlsMaterial | None = None
) -> Target:
    """Where POSTs to `url` go. Raises Rejected `invalid_url`, or `invalid_header`."""
    parts = _split(url)
    endpoint = Endpoint(parts.scheme == "https", _host(parts), _port(parts), material)
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_QUERY_SAFE)
    start = f"POST {path} HTTP/1.1\r\nhost: {_authority(parts.scheme, endpoint)}\r\n"
    return Target(endpoint, start.encode() + header_lines(headers))


def header_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers as they stand in a head, in UTF-8.

    Raises Rejected `invalid_header` for a line break or a NUL in any of them: nobody's name or
    value can begin another header, or the body.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    block = "".join(lines)
    count = len(lines)
    if block.count("\n") != count or block.count("\r") != count or "\0" in block:
        raise Rejected("invalid_header", "a header with a line break or a NUL in it")
    return block.encode(errors="replace")


def _split(url: str) -> SplitResult:
    if _UNSAFE.search(url):
        raise _invalid(url, "it has blanks or control characters")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _invalid(url, "it can't be read as a URL") from error
    if parts.scheme not in _PORTS:
        raise _invalid(url, "it doesn't begin with http:// or https://")
    if "@" in parts.netloc:
        raise _invalid(url, "it has a user or a password in it")
    return parts


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        return _ipv6(parts, host)
    try:
        host = host.encode("idna").decode()
    except UnicodeError as error:
        raise _invalid(parts.geturl(), f"its host is no name: {error}") from error
    if _HOST.fullmatch(host) is None:
        raise _invalid(parts.geturl(), "it has no host, or one that is no name")
    return host


def _ipv6(parts: SplitResult, host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError as error:
        raise _invalid(parts.geturl(), str(error)) from error
    if not isinstance(address, IPv6Address) or address.scope_id is not None:
        raise _invalid(parts.geturl(), "its host is no IPv6 address without a zone")
    return str(address)


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError as error:
        raise _invalid(parts.geturl(), "its port isn't one") from error
    if port == 0:
        raise _invalid(parts.geturl(), "its port is 0")
    return port or _PORTS[parts.scheme]


def _authority(scheme: str, endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == _PORTS[scheme] else f"{host}:{endpoint.port}"


def _invalid(url: str, why: str) -> Rejected:
    return Rejected("invalid_url", f"{without_login(url)!r}: {why}")
