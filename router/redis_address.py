"""Where Redis is: a URL as people write it, read without a client library.

redis://[[user]:password@]host[:port][/db], rediss:// with TLS, unix://[[user]:password@]/path?db=0;
for TLS also `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` and `ssl_cert_reqs=none` in the query.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from event_router.schemas.errors import InvalidValue

_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`path` is that of a unix socket, '' without one; `tls` what the URL says of TLS, if any."""

    host: str
    port: int
    path: str
    db: int
    username: str
    password: str
    tls: Mapping[str, str] | None

    def tls_context(self) -> ssl.SSLContext | None:
        """Raises OSError when a file that it names can't be read."""
        if self.tls is None:
            return None
        context = ssl.create_default_context(cafile=self.tls.get("ssl_ca_certs"))
        if self.tls.get("ssl_certfile"):
            context.load_cert_chain(self.tls["ssl_certfile"], self.tls.get("ssl_keyfile"))
        if self.tls.get("ssl_cert_reqs") == "none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def read_redis_url(url: str) -> RedisAddress:
    """Raises InvalidValue, which doesn't show the password."""
    try:
        return _address(urlsplit(url))
    except ValueError:
        without_password = url.rpartition("@")[2]
        expected = "a redis://, rediss:// or unix:// URL"
        raise InvalidValue("redis", without_password, expected) from None


def _address(parts: SplitResult) -> RedisAddress:
    socket = parts.scheme == "unix"
    if parts.scheme not in _SCHEMES or (socket and not parts.path):
        raise ValueError(parts.scheme)
    options = dict(parse_qsl(parts.query))
    db = "" if socket else parts.path.strip("/")
    return RedisAddress(
        host=unquote(parts.hostname or "127.0.0.1"),
        port=parts.port or 6379,
        path=unquote(parts.path) if socket else "",
        db=int(options.get("db") or db or 0),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=options if parts.scheme == "rediss" else None,
    )
