"""Which addresses a sink may reach, and how a name is resolved."""

import asyncio
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.consumers.addresses import (
    FRESH,
    STALE,
    Resolver,
    is_forbidden,
    networks,
    unmapped,
    vetted,
)
from event_router.schemas.errors import Unavailable

FORBIDDEN = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "::5efe:7f00:1",
    "2a00:1450::5efe:7f00:1",
    "2a00:1450::200:5efe:a00:1",
    "fd00::5efe:808:808",
    "fe80::200:5efe:808:808",
    "2002:7f00:1::5efe:808:808",
    "64:ff9b:1::5efe:808:808",
    "::1%5",
    "fe80::1%eth0",
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2a00:1450:4001:80b::200e",
    "2606:4700::1111",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2a00:1450::5efe:808:808",
]

V4 = st.ip_addresses(v=4).map(lambda address: IPv4Address(int(address)))
V6_PREFIXES = {
    "mapped": int(IPv6Address("::ffff:0:0")),
    "NAT64": int(IPv6Address("64:ff9b::")),
    "ISATAP": int(IPv6Address("2a00:1450::5efe:0:0")),
}


@pytest.mark.parametrize("text", FORBIDDEN)
def test_an_address_inside_is_forbidden(text: str) -> None:
    assert is_forbidden(ip_address(text))


@pytest.mark.parametrize("text", ALLOWED)
def test_an_address_of_the_internet_is_not_forbidden(text: str) -> None:
    assert not is_forbidden(ip_address(text))


@given(V4, st.sampled_from(sorted(V6_PREFIXES)))
def test_an_address_that_embeds_another_one_shares_its_verdict(
    address: IPv4Address, prefix: str
) -> None:
    embedding = IPv6Address(V6_PREFIXES[prefix] | int(address))
    assert is_forbidden(embedding) == is_forbidden(address)


@given(st.ip_addresses(v=6).map(int), st.booleans())
def test_an_address_inside_is_not_opened_by_one_outside_that_it_embeds(
    number: int, universal: bool
) -> None:
    identifier = 0x0200_5EFE if universal else 0x5EFE
    prefix = IPv6Address(number >> 64 << 64)
    if is_forbidden(prefix):
        assert is_forbidden(IPv6Address(int(prefix) | identifier << 32 | 0x0808_0808))


@given(V4)
def test_python_finds_nothing_private_among_what_is_allowed(address: IPv4Address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved:
        assert is_forbidden(address)


@given(st.ip_addresses(v=6))
def test_what_python_calls_private_in_ipv6_is_forbidden(
    address: IPv4Address | IPv6Address,
) -> None:
    embedded = isinstance(unmapped(address), IPv4Address)
    if not embedded and not address.is_global:
        assert is_forbidden(address)


@given(st.lists(V4, min_size=1), st.integers(0))
def test_one_forbidden_address_refuses_all(addresses: list[IPv4Address], at: int) -> None:
    addresses.insert(at % len(addresses), IPv4Address("10.1.2.3"))
    with pytest.raises(Unavailable, match="may not reach") as caught:
        vetted("mixed.example", addresses)
    assert caught.value.code == "forbidden_address"


@pytest.mark.parametrize("text", ["10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1"])
def test_a_private_network_can_be_opened(text: str) -> None:
    assert not is_forbidden(ip_address(text), networks("10.0.0.0/8"))
    assert is_forbidden(ip_address(text), networks("10.1.0.0/16", "fd00::/8"))


def test_opening_a_network_opens_no_other() -> None:
    assert is_forbidden(ip_address("fd00::5efe:a00:1"), networks("fd00::/8"))
    assert not is_forbidden(ip_address("fd00::5efe:a00:1"), networks("fd00::/8", "10.0.0.0/8"))
    assert not is_forbidden(ip_address("fd00::1"), networks("fd00::/8"))
    assert is_forbidden(ip_address("127.0.0.1"), networks("fd00::/8", "10.0.0.0/8"))


class Names:
    """A scripted name server with a clock. While `blocked` it doesn't answer."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.now = 0.0
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()

    def lookup(self, host: str) -> Sequence[str]:
        self.asked += 1
        self.answers.wait(20)
        if not self.addresses:
            raise OSError("no such name")
        return self.addresses

    def resolver(self) -> Resolver:
        return Resolver(lookup=self.lookup, clock=lambda: self.now)


async def found(resolver: Resolver, host: str = "some.example") -> list[str]:
    async with asyncio.timeout(20):
        return [str(address) for address in await resolver.addresses(host)]


async def test_an_answer_is_used_for_a_while() -> None:
    names = Names("1.1.1.1", "2606:4700::1111")
    resolver = names.resolver()
    for _ in range(3):
        assert await found(resolver) == ["1.1.1.1", "2606:4700::1111"]
    assert names.asked == 1
    names.now += FRESH
    names.addresses = ("8.8.8.8",)
    assert await found(resolver) == ["8.8.8.8"]


async def test_those_who_ask_at_once_share_a_lookup() -> None:
    names = Names("1.1.1.1")
    resolver = names.resolver()
    await asyncio.gather(*(found(resolver) for _ in range(100)))
    assert names.asked == 1


async def test_a_literal_address_is_vetted_and_not_looked_up() -> None:
    names = Names()
    assert await found(names.resolver(), "8.8.8.8") == ["8.8.8.8"]
    with pytest.raises(Unavailable, match="forbidden_address"):
        await found(names.resolver(), "::1")
    assert names.asked == 0


async def test_a_name_that_leads_inside_is_forbidden() -> None:
    with pytest.raises(Unavailable, match="forbidden_address"):
        await found(Names("1.1.1.1", "127.0.0.1").resolver())


async def test_a_short_form_of_an_address_is_no_way_inside() -> None:
    for host in ("127.1", "2130706433", "0x7f.1"):
        with pytest.raises(Unavailable, match=r"forbidden_address|dns_error"):
            await found(Resolver(), host)


async def test_a_name_that_is_not_there_is_a_dns_error_and_asked_again() -> None:
    names = Names()
    resolver = names.resolver()
    with pytest.raises(Unavailable, match="dns_error"):
        await found(resolver)
    names.addresses = ("1.1.1.1",)
    assert await found(resolver) == ["1.1.1.1"]


async def test_what_is_no_name_at_all_is_a_dns_error() -> None:
    with pytest.raises(Unavailable, match="dns_error"):
        await found(Resolver(), "a" * 64 + ".example")


async def test_a_known_name_keeps_working_while_its_server_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("event_router.consumers.addresses.STALE_PATIENCE", 0.01)
    names = Names("1.1.1.1")
    resolver = names.resolver()
    await found(resolver)
    names.now += FRESH
    names.answers.clear()
    assert await found(resolver) == ["1.1.1.1"]
    names.now += STALE
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(found(resolver), 0.1)
    names.answers.set()
    assert await found(resolver) == ["1.1.1.1"]
