"""Certificates on both sides: who gets in, whose connections are whose, what failures are called.

On the loop that the roles run on: asyncio's own often reads a reset before the alert behind it.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvloop

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.http1.connection import HttpAnswer
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import target_of
from event_router.consumers.http1.tls_contexts import TlsMaterial
from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.signing import new_secret
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import a_delivery, a_destination, local_resources
from event_router.schemas.errors import Unavailable
from tests.https import Pem, asking, issued, server_context, tls_server, trusted
from tests.nginx import mutual_nginx
from tests.receivers import OK, answering, receiver, scripted

LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def material(pem: Pem | None = None, *, by: str | None = "ours") -> TlsMaterial:
    """That shows `pem`, and trusts the authority of that name, or whom the system trusts."""
    return TlsMaterial(trusted(by) if by else None, *(pem or (None, None)))


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = version
    return context


async def post(sender: Sender, url: str, tls: TlsMaterial, body: bytes = b"{}") -> HttpAnswer:
    deadline = asyncio.get_running_loop().time() + 20
    return await sender.post(target_of(url, (), tls), [], body, pool="one", deadline=deadline)


def on_uvloop(do: Callable[[Sender], Awaitable[None]]) -> None:
    async def run() -> None:
        sender = Sender(Resolver(networks("127.0.0.0/8")))
        try:
            await do(sender)
        finally:
            await sender.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def failure_of(
    server: ssl.SSLContext, tls: TlsMaterial, body: bytes = b"{}", host: str = "127.0.0.1"
) -> Unavailable:
    """How a POST to that server fails."""
    failures: list[Unavailable] = []

    async def fails(sender: Sender) -> None:
        with pytest.raises(Unavailable) as caught:
            await post(sender, url.replace("127.0.0.1", host), tls, body)
        failures.append(caught.value)
        assert sender.idle == 0

    with tls_server(server) as url:
        on_uvloop(fails)
    return failures[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_who_shows_the_right_certificate_gets_in(version: ssl.TLSVersion) -> None:
    async def answered(sender: Sender) -> None:
        for _ in range(2):
            assert (await post(sender, url, material(issued("client")))).body == b"ok"

    with tls_server(only(version, asking(server_context("127.0.0.1")))) as url:
        on_uvloop(answered)


@pytest.mark.parametrize("body", [b"{}", b"x" * 500_000])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "client", [issued("client", by="others"), issued("client", ended=LONG_AGO)]
)
def test_a_certificate_that_the_server_refuses_is_called_so(
    version: ssl.TLSVersion, client: Pem, body: bytes
) -> None:
    server = only(version, asking(server_context("127.0.0.1")))
    assert failure_of(server, material(client), body).code == "tls_client_certificate"


def test_a_certificate_that_is_missing_is_called_so() -> None:
    server = only(ssl.TLSVersion.TLSv1_3, asking(server_context("127.0.0.1")))
    error = failure_of(server, material())
    assert error.code == error.answer.code == "tls_client_certificate"
    assert b"alert certificate required" in error.answer.body


def test_before_tls_1_3_a_missing_certificate_is_like_any_other_failure() -> None:
    server = only(ssl.TLSVersion.TLSv1_2, asking(server_context("127.0.0.1")))
    assert failure_of(server, material()).code == "tls_error"


@pytest.mark.parametrize("by", [None, "others"])
def test_a_server_that_nobody_vouches_for_is_called_so(by: str | None) -> None:
    error = failure_of(server_context("127.0.0.1"), material(issued("client"), by=by))
    assert error.code == error.answer.code == "tls_unknown_authority"
    assert b"certificate verify failed" in error.answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_of_another_name_is_called_so(host: str) -> None:
    error = failure_of(server_context("other.example"), material(), host=host)
    assert error.code == "tls_name_mismatch"


def test_a_server_whose_certificate_has_expired_is_called_so() -> None:
    server = server_context("127.0.0.1", ended=LONG_AGO)
    assert failure_of(server, material()).code == "tls_certificate_expired"


def test_material_that_cannot_be_used_is_a_tls_error_that_tells_nothing_of_it() -> None:
    pem = Pem(issued("client").certificate, issued("client").key)
    error = failure_of(server_context("127.0.0.1"), material(pem))
    assert error.code == "tls_error"
    assert pem.key.splitlines()[1] not in f"{error} {error.answer}"


async def test_another_certificate_never_gets_a_connection_of_the_one_before() -> None:
    sender = Sender(Resolver(networks("127.0.0.0/8")))
    one, two = material(issued("client")), material(issued("client"))
    async with scripted(answering(OK), asking(server_context("127.0.0.1"))) as server:
        for tls in (one, one, two, two):
            await post(sender, server.url, tls)
        assert server.connections == 2
        assert sender.idle == 1
    await sender.aclose()


async def test_a_certificate_that_was_changed_holds_at_the_next_attempt(tmp_path: Path) -> None:
    secret = new_secret()
    async with local_resources() as resources, receiver() as server:
        sinks = OpenSinks(lambda one: load_sinks().open(one, resources))
        with mutual_nginx(tmp_path, issued("127.0.0.1"), trusted(), server.port) as url:
            for version in ("v1", "v1", "v2"):
                credentials = {"secret": secret, **RENEWED[version].credentials}
                config = {"url": url, "ca_certificate": trusted()}
                destination = a_destination("webhook", config, credentials, version)
                async with sinks.lend(destination) as sink:
                    await sink.deliver(a_delivery())
            await sinks.aclose()
        shown = [request.header("x-client") for request in server.requests]
    assert shown[0] == shown[1] != shown[2]


RENEWED = {"v1": issued("client"), "v2": issued("client")}
