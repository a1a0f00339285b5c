"""Receivers over TLS: certificates for both sides, and servers that ask for them."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import trustme

from tests.server_certificates import text_of


class Pem(NamedTuple):
    """A certificate with its chain, and its key."""

    certificate: str
    key: str

    @property
    def credentials(self) -> dict[str, str]:
        """As they are entered for a webhook."""
        return {"client_certificate": self.certificate, "client_key": self.key}


@cache
def authority(name: str = "ours") -> trustme.CA:
    """The one of that name; making one takes a moment."""
    return trustme.CA(organization_name=name)


def trusted(name: str = "ours") -> str:
    """The authority's own certificate, in PEM."""
    return text_of(authority(name).cert_pem)


def issued(*names: str, by: str = "ours", ended: datetime | None = None) -> Pem:
    """A certificate for these names, or one that has `ended`."""
    made = authority(by).issue_cert(*names, not_after=ended)
    return Pem(text_of(*made.cert_chain_pems), text_of(made.private_key_pem))


def server_context(*names: str, by: str = "ours", ended: datetime | None = None) -> ssl.SSLContext:
    """Of a server with these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority(by).issue_cert(*names, not_after=ended).configure_cert(context)
    return context


def asking(context: ssl.SSLContext, by: str = "ours") -> ssl.SSLContext:
    """The same, which lets nobody in without a certificate by that authority."""
    context.verify_mode = ssl.CERT_REQUIRED
    authority(by).configure_trust(context)
    return context


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name in the library
        """Nothing on the terminal."""


class _Server(ThreadingHTTPServer):
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(20)
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was sent away is what is tested."""


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[str]:
    """Its URL. It answers every POST with 200, and ends a failed handshake as the standard says,
    with an alert: asyncio's servers don't."""
    with _Server(("127.0.0.1", 0), _Answers) as server:
        server.tls = context
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="tls server")
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
