"""A private nginx: a well-behaved receiver that is not ours, over plain TCP and TLS; and one that
asks for client certificates, in front of a receiver of ours."""

import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.https import Pem

_PROCESS = """
daemon off;
master_process off;  # one process, as whoever runs the tests
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
events {{ worker_connections 1024; }}
"""

_HTTP = (
    _PROCESS
    + """
http {{
    access_log off;
    keepalive_requests 1000000;
    client_max_body_size 16m;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
"""
)

CONF = (
    _HTTP
    + """
    log_format posted '$request_method $request_uri $http_host $request_length $connection';
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {prefix}/cert.pem;
        ssl_certificate_key {prefix}/key.pem;
        location / {{ return 200 "ok"; }}
        location /empty {{ return 204; }}
        location /logged {{ access_log {prefix}/posted.log posted; return 200 "ok"; }}
        location /read {{
            access_log {prefix}/posted.log posted;
            proxy_pass http://127.0.0.1:{port}/empty;
        }}
        location /moved {{ return 302 http://127.0.0.1:{port}/; }}
        location /closing {{ keepalive_timeout 0; return 200 "bye"; }}
        location /large {{ root {prefix}/files; error_page 405 =200 $uri; }}
        location /small_bodies {{
            client_max_body_size 1k;
            proxy_pass http://127.0.0.1:{port}/empty;
        }}
    }}
}}
"""
)

MUTUAL_CONF = (
    _HTTP
    + """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {prefix}/cert.pem;
        ssl_certificate_key {prefix}/key.pem;
        ssl_client_certificate {prefix}/clients.pem;
        ssl_verify_client on;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_set_header X-Client $ssl_client_serial;
        }}
    }}
}}
"""
)


@dataclass(frozen=True)
class Nginx:
    """`tls` trusts the certificate, which is for `localhost` and 127.0.0.1."""

    prefix: Path
    port: int
    tls_port: int
    tls: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"https://localhost:{self.tls_port}"

    def logged(self, mark: str, count: int) -> list[list[str]]:
        """The `count` lines on requests with `mark` in their path, once nginx has written them:
        each has method, path, host, length, number of the connection."""
        log = self.prefix / "posted.log"
        until = time.monotonic() + 20
        lines: list[list[str]] = []
        while len(lines) < count and time.monotonic() < until:
            time.sleep(0.005)
            lines = [line.split() for line in log.read_text().splitlines() if mark in line]
        return lines


@contextmanager
def running_nginx(prefix: Path) -> Iterator[Nginx]:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(prefix / "key.pem"))
    for index, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(prefix / "cert.pem"), append=index > 0)
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    nginx = Nginx(prefix, _free_port(), _free_port(), tls)
    (prefix / "files").mkdir()
    (prefix / "files" / "large").write_bytes(b"x" * (1 << 20))
    conf = CONF.format(prefix=prefix, port=nginx.port, tls_port=nginx.tls_port)
    with _started(prefix, conf, nginx.tls_port):
        yield nginx


@contextmanager
def mutual_nginx(prefix: Path, server: Pem, clients: str, upstream: int) -> Iterator[str]:
    """The URL of one that hands on to the port `upstream` what comes with a certificate by
    `clients`, and says the certificate's number in the header x-client."""
    (prefix / "cert.pem").write_text(server.certificate)
    (prefix / "key.pem").write_text(server.key)
    (prefix / "clients.pem").write_text(clients)
    port = _free_port()
    with _started(prefix, MUTUAL_CONF.format(prefix=prefix, port=port, upstream=upstream), port):
        yield f"https://127.0.0.1:{port}/"


@contextmanager
def _started(prefix: Path, conf: str, port: int) -> Iterator[None]:
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if binary is None:
        pytest.fail("nginx isn't installed, and these tests need it: apt-get install nginx-light")
    path = prefix / "nginx.conf"
    path.write_text(conf)
    process = subprocess.Popen([binary, "-p", prefix, "-c", path, "-e", prefix / "error.log"])
    try:
        _wait_until_listening(port, process, prefix)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_listening(port: int, process: "subprocess.Popen[bytes]", prefix: Path) -> None:
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    pytest.fail(f"nginx didn't start: {(prefix / 'error.log').read_text()}")
