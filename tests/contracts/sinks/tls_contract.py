"""What every sink keeps to that speaks TLS with a broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trustme

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import a_delivery, a_destination, local_resources
from event_router.schemas.errors import Answer, Unavailable
from tests.server_certificates import NAME, a_client_of, text_of

CLOSED = frozenset({"tls_error", "connection_reset", "network_error"})
"""A server that doesn't like our certificate says so, or hangs up, or both."""


@dataclass(frozen=True)
class Secured:
    """A destination behind TLS, whose server's certificate is for NAME and by `authority`; the
    config names none, and the credentials hold no certificate of ours."""

    type: str
    config: Mapping[str, Any]
    credentials: Mapping[str, Any]
    authority: trustme.CA
    arrived: Callable[[], Awaitable[int]]
    own: Mapping[str, Any] = field(default_factory=dict)
    """What the credentials have to have besides, where it insists on that."""

    @property
    def trusting(self) -> dict[str, Any]:
        return {**self.config, "ca_certificate": text_of(self.authority.cert_pem)}


def everywhere_here(host: str) -> list[str]:
    return ["127.0.0.1"]


async def outcome(
    secured: Secured,
    config: Mapping[str, Any],
    credentials: Mapping[str, Any] | None = None,
    *,
    allowed: tuple[str, ...] = ("127.0.0.0/8",),
    seconds: float = 10.0,
) -> Answer | Unavailable:
    """Of a delivery; whatever the host's name, it leads to this machine."""
    found = Resolver(networks(*allowed), lookup=everywhere_here)
    checked = load_sinks().check(
        secured.type, config, {**secured.credentials, **secured.own, **(credentials or {})}
    )
    destination = a_destination(secured.type, checked.config, checked.credentials)
    async with local_resources() as ours:
        sink = load_sinks().open(destination, replace(ours, resolver=found, timeout=seconds))
        try:
            return await sink.deliver(a_delivery())
        except Unavailable as trouble:
            return trouble
        finally:
            await sink.aclose()


@asynccontextmanager
async def eavesdropper(greeting: bytes) -> AsyncIterator[tuple[int, bytearray]]:
    """A port that knows no TLS, and what was said to it."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while data := await reader.read(1 << 16):
            heard.extend(data)
            writer.write(b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], heard
    server.close()


class TlsContract:
    """To be inherited. `server` is the config's field for host:port, `greeting` what a server says
    before it is asked."""

    server = "server"
    greeting = b""

    @pytest.fixture
    def secured(self) -> Secured:
        raise NotImplementedError("a fixture `secured` of your own is what these tests run on")

    async def test_a_private_authority_is_trusted_and_the_name_is_that_of_the_host(
        self, secured: Secured
    ) -> None:
        before = await secured.arrived()
        answer = await outcome(secured, secured.trusting)
        assert answer.code == "OK", str(answer)
        assert await secured.arrived() == before + 1

    async def test_without_one_those_of_the_system_are_trusted(
        self, secured: Secured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with secured.authority.cert_pem.tempfile() as path:
            monkeypatch.setenv("SSL_CERT_FILE", path)
            answer = await outcome(secured, secured.config)
        assert answer.code == "OK", str(answer)

    @pytest.mark.parametrize("flaw", ["nobody's", "a stranger's", "another's"])
    async def test_another_certificate_is_a_tls_error_and_tells_no_secret(
        self, secured: Secured, flaw: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        place = secured.config[self.server].replace(NAME, "other.example.org")
        config = {
            "nobody's": secured.config,
            "a stranger's": {**secured.config, "ca_certificate": text_of(trustme.CA().cert_pem)},
            "another's": {**secured.trusting, self.server: place},
        }[flaw]
        trouble = await outcome(secured, config, seconds=3.0)
        assert isinstance(trouble, Unavailable)
        assert trouble.code == "tls_error", str(trouble)
        told = f"{trouble} {trouble.answer} {caplog.text}"
        for name, secret in {**secured.credentials, **secured.own}.items():
            assert name in ("username", "client_certificate") or secret not in told

    async def test_an_address_inside_is_not_connected_to(self, secured: Secured) -> None:
        trouble = await outcome(secured, secured.trusting, allowed=(), seconds=3.0)
        assert trouble.code == "forbidden_address"

    async def test_a_server_that_knows_no_tls_hears_nothing_of_ours(self, secured: Secured) -> None:
        async with eavesdropper(self.greeting) as (port, heard):
            config = {**secured.trusting, self.server: f"{NAME}:{port}"}
            trouble = await outcome(secured, config, seconds=1.0)
        assert isinstance(trouble, Unavailable)
        assert trouble.code in {*CLOSED, "timeout"}, str(trouble)
        for name, secret in {**secured.credentials, **secured.own}.items():
            assert secret.encode() not in heard, name
        assert b"evt_1" not in heard

    async def test_a_certificate_of_ours_is_shown(self, secured: Secured) -> None:
        answer = await outcome(secured, secured.trusting, a_client_of(secured.authority))
        assert answer.code == "OK", str(answer)
        stranger = a_client_of(trustme.CA())
        trouble = await outcome(secured, secured.trusting, stranger, seconds=3.0)
        assert trouble.code in CLOSED, str(trouble)
