"""Asks a role's health server how it is. As a program, for health checks of containers:

    python -m event_router.router.readiness http://127.0.0.1:8080

exits with 0 if the role is ready, else with 1, and prints what it waits for.
"""

import asyncio
import contextlib
import sys
from urllib.parse import urlsplit

import msgspec


class Readiness(msgspec.Struct, frozen=True):
    """What `/readyz` answers. `lag` is in records, None while nobody knows it yet. `warnings` are
    of what doesn't work while the role does."""

    ready: bool
    lag: int | None = None
    troubles: dict[str, str] = {}
    warnings: dict[str, str] = {}


async def readiness(url: str, timeout: float = 2.0) -> Readiness | None:
    """What the role at `url` says of itself; None: nobody there answers as a role does."""
    with contextlib.suppress(OSError, TimeoutError, msgspec.MsgspecError):
        async with asyncio.timeout(timeout):
            return msgspec.json.decode(await _body(url), type=Readiness)
    return None


async def _body(url: str) -> bytes:
    """HTTP/1.0, so that the end of the body is the end of the connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(f"GET /readyz HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        answer = await reader.read(-1)
    finally:
        writer.close()
    return answer.partition(b"\r\n\r\n")[2]


def main(url: str) -> int:
    """The exit code of a health check."""
    found = asyncio.run(readiness(url))
    if found is None:
        sys.stdout.write(f"nobody answers at {url}\n")
        return 1
    for name, what_to_do in (*found.troubles.items(), *found.warnings.items()):
        sys.stdout.write(f"{name}: {what_to_do}\n")
    return 0 if found.ready else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
