"""However an address inside is written, no request of a destination gets there."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_router.consumers.addresses import FRESH, Resolver, networks
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import target_of
from event_router.consumers.http1.tls_contexts import TlsMaterial
from event_router.schemas.errors import Rejected, Unavailable
from tests.https import server_context, trusted
from tests.receivers import Reader, Writer, read_request, scripted

INSIDE = st.sampled_from(
    [
        *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.5.4", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.0.8", "198.18.0.1", "224.0.0.1"),
        *("240.0.0.1", "255.255.255.255", "192.88.99.1"),
    ]
).map(IPv4Address)

Notation = Callable[[IPv4Address], str]


def _parts(address: IPv4Address) -> list[int]:
    return list(address.packed)


def _v6(prefix: str) -> Notation:
    return lambda address: f"[{IPv6Address(int(IPv6Address(prefix)) | int(address))}]"


def _6to4(address: IPv4Address) -> str:
    return f"[{IPv6Address(0x2002 << 112 | int(address) << 80 | 1)}]"


def _teredo(address: IPv4Address) -> str:
    return f"[{IPv6Address(0x20010000 << 96 | (int(address) ^ 0xFFFFFFFF))}]"


def _fullwidth(address: IPv4Address) -> str:
    return str(address).translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789."})


def _circled(address: IPv4Address) -> str:
    return str(address).translate({ord("1"): 0x2460, ord("2"): 0x2461, ord("0"): 0x24EA})


NOTATIONS: dict[str, Notation] = {
    "plain": str,
    "trailing dot": lambda address: f"{address}.",
    "one number": lambda address: str(int(address)),
    "one hex number": lambda address: hex(int(address)),
    "one octal number": lambda address: f"0{int(address):o}",
    "hex": lambda address: ".".join(map(hex, _parts(address))),
    "octal": lambda address: ".".join(f"0{part:o}" for part in _parts(address)),
    "octal with zeros": lambda address: ".".join(f"0000{part:o}" for part in _parts(address)),
    "two parts": lambda address: f"{_parts(address)[0]}.{int(address) & 0xFFFFFF}",
    "three parts": lambda address: (
        f"{_parts(address)[0]}.{_parts(address)[1]}.{int(address) & 0xFFFF}"
    ),
    "mixed": lambda address: f"{hex(_parts(address)[0])}.{int(address) & 0xFFFFFF}",
    "percent": lambda address: "".join(f"%{ord(one):02x}" for one in str(address)),
    "full width": _fullwidth,
    "circled": _circled,
    "mapped": _v6("::ffff:0:0"),
    "mapped, dotted": lambda address: f"[::ffff:{address}]",
    "compatible": _v6("::"),
    "translated": _v6("::ffff:0:0:0"),
    "NAT64": _v6("64:ff9b::"),
    "local NAT64": _v6("64:ff9b:1::"),
    "ISATAP": _v6("2a00:1450::5efe:0:0"),
    "6to4": _6to4,
    "Teredo": _teredo,
    "behind a name": lambda address: f"example.com@{address}",
    "behind a name and a password": lambda address: f"example.com:80@{address}",
    "behind a backslash": lambda address: f"example.com\\@{address}",
    "behind a fragment": lambda address: f"{address}#@example.com",
    "with a zone": lambda address: f"[::ffff:{address}%25lo]",
    "with a tab": lambda address: f"127.\t{address}",
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_no_way_of_writing_an_address_leads_inside(notation: str) -> None:
    @settings(max_examples=20)
    @given(address=INSIDE, scheme=st.sampled_from(["http", "https", "HTTP"]), port=st.booleans())
    def check(address: IPv4Address, scheme: str, port: bool) -> None:
        written = NOTATIONS[notation](address)
        url = f"{scheme}://{written}{':8080' if port else ''}/hook"
        with pytest.raises(
            (Rejected, Unavailable), match=r"^(invalid_url|forbidden_address|dns_error)"
        ):
            asyncio.run(Resolver(lookup=_only_numbers).addresses(target_of(url).endpoint.host))

    check()


def _only_numbers(host: str) -> Sequence[str]:
    """As the system's resolver, which knows more ways to write a number than we, but no name."""
    try:
        found = socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError as error:
        raise OSError(f"{host} is no number") from error
    return [found]


async def test_a_name_that_moves_inside_is_refused_once_it_has() -> None:
    """Also for a destination that was reached before; and the name stays in `Host`."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "10.0.0.1"]])
    clock = [0.0]
    resolver = Resolver(
        networks("127.0.0.0/8"), lookup=lambda _: next(answers), clock=lambda: clock[0]
    )
    hosts: list[str] = []

    async def receive(reader: Reader, writer: Writer) -> None:
        hosts.append((await read_request(reader)).header("host"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async with scripted(receive) as server:
        sender = Sender(resolver)
        target = target_of(f"http://rebinding.example:{server.port}/")

        async def post() -> int:
            deadline = asyncio.get_running_loop().time() + 10
            answer = await sender.post(target, (), b"{}", pool="one", deadline=deadline)
            return answer.status

        assert await post() == 200
        for _ in range(2):
            clock[0] += FRESH
            with pytest.raises(Unavailable, match="forbidden_address"):
                await post()
        await sender.aclose()
    assert hosts == [f"rebinding.example:{server.port}"]


async def test_tls_goes_to_the_vetted_address_under_the_name_that_was_entered() -> None:
    """In SNI, in the certificate, and in `Host`."""
    asked: list[str | None] = []
    hosts: list[str] = []

    async def receive(reader: Reader, writer: Writer) -> None:
        hosts.append((await read_request(reader)).header("host"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    context = server_context("named.example")
    context.sni_callback = lambda _, name, __: asked.append(name)
    server = await asyncio.start_server(receive, "127.0.0.2", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    sender = Sender(Resolver(networks("127.0.0.2/32"), lookup=lambda _: ["127.0.0.2"]))
    deadline = asyncio.get_running_loop().time() + 20

    async def post(name: str) -> int:
        target = target_of(f"https://{name}:{port}/", (), TlsMaterial(trusted()))
        answer = await sender.post(target, (), b"{}", pool="one", deadline=deadline)
        return answer.status

    async with server:
        assert await post("named.example") == 200
        with pytest.raises(Unavailable, match="tls_name_mismatch"):
            await post("another.example")
        await sender.aclose()
    assert asked == ["named.example", "another.example"]
    assert hosts == [f"named.example:{port}"]


async def test_a_redirect_inside_is_an_answer_like_any_other() -> None:
    lines: list[str] = []

    async def receive(reader: Reader, writer: Writer) -> None:
        lines.append((await read_request(reader)).line)
        writer.write(
            b"HTTP/1.1 307 Go\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n"
            b"connection: close\r\n\r\n"
        )
        await writer.drain()

    async with scripted(receive) as server:
        sender = Sender(Resolver(networks("127.0.0.0/8")))
        deadline = asyncio.get_running_loop().time() + 10
        target = target_of(f"http://127.0.0.1:{server.port}/")
        answer = await sender.post(target, (), b"{}", pool="one", deadline=deadline)
        await sender.aclose()
    assert answer.status == 307
    assert lines == ["POST / HTTP/1.1"]
