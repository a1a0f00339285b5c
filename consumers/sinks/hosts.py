"""Hosts that people enter: no sink connects to one before its addresses were vetted."""

from urllib.parse import urlsplit

from event_router.consumers.addresses import Resolver


def host_and_port(server: str) -> tuple[str, int]:
    """Of `host:port`, or `[::1]:port`."""
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


async def vetted_address(resolver: Resolver, host: str) -> str:
    """An address of the host, to connect to instead of asking for the name again: a second
    answer may lead elsewhere. Raises Unavailable (`dns_error`, `forbidden_address`)."""
    return str((await resolver.addresses(host))[0])


async def vet_url(resolver: Resolver, url: str) -> None:
    """For libraries that look the name up themselves. Raises as `vetted_address` does."""
    await resolver.addresses(urlsplit(url).hostname or "")
