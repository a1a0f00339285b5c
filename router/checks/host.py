"""Is this machine ready: the API's port, its key, and the data directory?"""

import errno
import socket
import tempfile
from pathlib import Path

from event_router.router.checks.finding import Finding, ok, problem, warning
from event_router.router.readiness import readiness

SHORTEST_KEY = 16
SHORTEST_JWT_SECRET = 32


async def examine_port(host: str, port: int) -> Finding:
    """A router that already listens there is in order."""
    trouble = _trouble(host, port)
    if trouble is None:
        return ok("api", f"{host}:{port} is free")
    if trouble == errno.EADDRINUSE:
        if await readiness(f"http://{host}:{port}") is not None:
            return ok("api", f"runs at {host}:{port}")
        return problem(
            "api",
            f"another program listens on {host}:{port}",
            "stop it, or set ROUTER_API_PORT to another port",
        )
    if trouble == errno.EACCES:
        return problem(
            "api", f"port {port} is for root only", "set ROUTER_API_PORT to 1024 or more"
        )
    return problem(
        "api",
        f"{host} isn't an address of this machine",
        "set ROUTER_API_HOST to 127.0.0.1, or to 0.0.0.0 for all addresses",
    )


def examine_key(key: str) -> Finding:
    if not key:
        return problem(
            "api key",
            "there is none, so nobody can use the API",
            "set ROUTER_API_KEY to a long random text (openssl rand -hex 32)",
        )
    if len(key) < SHORTEST_KEY:
        return warning(
            "api key",
            f"it has only {len(key)} characters",
            "set ROUTER_API_KEY to a long random text (openssl rand -hex 32)",
        )
    return ok("api key", "is set")


def examine_jwt_secret(secret: str) -> Finding:
    """RFC 7518 §3.2 on the length."""
    advice = "set ROUTER_JWT_SECRET to a long random text (openssl rand -hex 32)"
    if not secret:
        return warning("tenants' tokens", "there are none: no secret is set", advice)
    if len(secret.encode()) < SHORTEST_JWT_SECRET:
        return warning(
            "tenants' tokens", f"the secret has only {len(secret.encode())} bytes", advice
        )
    return ok("tenants' tokens", "the secret is set")


def examine_data_dir(path: Path) -> Finding:
    """Leaves nothing behind: a directory that isn't there yet stays so."""
    there = path.resolve()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            return ok("data directory", f"{path} can be written")
    except OSError as error:
        return problem(
            "data directory",
            f"{path} can't be written: {there}: {error.strerror}",
            "make it writable, or set ROUTER_DATA_DIR to another",
        )


def _trouble(host: str, port: int) -> int | None:
    """The errno of listening there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno
    return None
