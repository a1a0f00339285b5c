"""Which addresses a sink may reach, and finding them: resolve once, vet all, connect to those.

An explicit table, because `ipaddress.is_global` of CPython 3.11 says yes to multicast, 6to4, NAT64
and more. One forbidden address in the answer refuses the name: an answer that mixes public and
private addresses is an attempt to get inside.
"""

import asyncio
import functools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from event_router.schemas.errors import Unavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str], Sequence[str]]

# IANA special-purpose registries (RFC 6890 and later), and what is not unicast.
_FORBIDDEN_V4 = tuple(
    IPv4Network(cidr)
    for cidr in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# The only IPv6 space that is assigned for global unicast; loopback, unique local, link-local,
# site-local, multicast, SRv6 and discard addresses all lie outside.
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = tuple(
    IPv6Network(cidr)
    for cidr in (
        "2001::/23",  # IETF protocols: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_EMBEDS_V4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))  # mapped, NAT64
_ISATAP = 0x5EFE
_ISATAP_UNIVERSAL_BIT = 0x0200_0000


def unmapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, NAT64), else itself."""
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDS_V4):
        return _last_32_bits(address)
    return address


def is_forbidden(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether a sink may not connect to it. `allowed` opens networks of the table.

    ISATAP leads by way of an IPv6 network to the IPv4 address within: both have to be allowed.
    """
    address = unmapped(address)
    if _is_isatap(address) and is_forbidden(_last_32_bits(address), allowed):
        return True
    if any(address in network for network in allowed if network.version == address.version):
        return False
    if isinstance(address, IPv4Address):
        return any(address in network for network in _FORBIDDEN_V4)
    return address not in _GLOBAL_V6 or any(address in network for network in _FORBIDDEN_V6)


def _is_isatap(address: Address) -> bool:
    identifier = int(address) >> 32 & 0xFFFF_FFFF & ~_ISATAP_UNIVERSAL_BIT
    return isinstance(address, IPv6Address) and identifier == _ISATAP


def _last_32_bits(address: Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def vetted(
    host: str, addresses: Sequence[Address], allowed: Iterable[Network] = ()
) -> Sequence[Address]:
    """`addresses`, all of which a sink may reach; else Unavailable `forbidden_address`."""
    for address in addresses:
        if is_forbidden(address, allowed):
            raise Unavailable(
                "forbidden_address",
                f"{host} is {address}, which sinks may not reach; "
                "ROUTER_ALLOW_NETWORKS opens private networks",
            )
    return addresses


def networks(*cidrs: str) -> tuple[Network, ...]:
    return tuple(ip_network(cidr) for cidr in cidrs)


FRESH = 10.0
"""Seconds for which an answer is used without asking again; the resolver doesn't tell the TTL."""
STALE = 300.0
"""Seconds for which an older answer stands in while the resolver is slow."""
STALE_PATIENCE = 1.0
CACHED_NAMES = 4096
CONCURRENT_LOOKUPS = 64


@dataclass(frozen=True, slots=True)
class _Known:
    addresses: tuple[Address, ...]
    at: float


_Found = tuple[Address, ...] | Unavailable


def system_lookup(host: str) -> Sequence[str]:
    """The addresses of `host`, in the order in which they are to be tried; blocks."""
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class Resolver:
    """Finds the vetted addresses of a name.

    Each name is looked up once at a time, in a daemon thread of its own: names whose servers don't
    answer neither fill a shared pool of threads nor hold up the end of the process, and names that
    answered before keep working meanwhile.
    """

    def __init__(
        self,
        allowed: Iterable[Network] = (),
        *,
        lookup: Lookup = system_lookup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = tuple(allowed)
        self._lookup = lookup
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._pending: dict[str, asyncio.Future[_Found]] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_LOOKUPS)

    async def addresses(self, host: str) -> Sequence[Address]:
        """All vetted, at least one; the caller sets the deadline.

        Raises Unavailable: `dns_error`, or `forbidden_address`.
        """
        try:
            return vetted(host, [ip_address(host)], self._allowed)
        except ValueError:
            return vetted(host, await self._resolved(host), self._allowed)

    async def _resolved(self, host: str) -> Sequence[Address]:
        known = self._known.get(host)
        age = self._clock() - known.at if known else STALE
        if known and age < FRESH:
            return known.addresses
        pending = self._pending.get(host) or await self._start(host)
        stand_in = known if age < STALE else None
        await asyncio.wait([pending], timeout=STALE_PATIENCE if stand_in else None)
        if stand_in and not pending.done():
            return stand_in.addresses
        found = pending.result()
        if isinstance(found, Unavailable):
            raise Unavailable(found.code, found.detail)
        return found

    async def _start(self, host: str) -> "asyncio.Future[_Found]":
        await self._slots.acquire()
        if host in self._pending:  # somebody else began while we waited for the slot
            self._slots.release()
            return self._pending[host]
        loop = asyncio.get_running_loop()
        pending: asyncio.Future[_Found] = loop.create_future()
        self._pending[host] = pending
        finish = functools.partial(self._finish, host, pending)
        threading.Thread(
            target=_look_up,
            args=(self._lookup, host, loop, finish),
            name=f"dns {host}",
            daemon=True,
        ).start()
        return pending

    def _finish(self, host: str, pending: "asyncio.Future[_Found]", found: _Found) -> None:
        self._slots.release()
        del self._pending[host]
        self._known.pop(host, None)
        if not isinstance(found, Unavailable):
            self._known[host] = _Known(found, self._clock())
            if len(self._known) > CACHED_NAMES:
                del self._known[next(iter(self._known))]
        pending.set_result(found)


def _look_up(
    lookup: Lookup, host: str, loop: asyncio.AbstractEventLoop, finish: Callable[[_Found], None]
) -> None:
    """In the thread: what was found goes to `finish`, in the loop, unless that has ended."""
    found: _Found
    try:
        found = tuple(ip_address(text) for text in lookup(host))
    except (OSError, ValueError) as error:  # UnicodeError, for what isn't a name, is a ValueError
        found = Unavailable("dns_error", f"{host}: {error}")
    if not found:
        found = Unavailable("dns_error", f"{host}: no addresses")
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(finish, found)
