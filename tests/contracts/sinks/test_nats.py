"""Subjects of JetStream, on nats-server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import nats
import pytest
from nats.js.api import DiscardPolicy, StreamConfig

from event_router.consumers.ports import Sink
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import (
    Arrived,
    NetworkContract,
    SinkCase,
    SinkContract,
    Trouble,
    a_delivery,
    refusing_port,
    silent_port,
)
from event_router.consumers.testing.network_contract import LATEST
from event_router.consumers.tls import tls_context
from event_router.schemas.errors import InvalidValue, Unavailable
from tests import services
from tests.contracts.sinks.tls_contract import CLOSED, Secured, TlsContract, outcome
from tests.nats_accounts import Accounts, Keys
from tests.server_certificates import NAME, Certified, a_client_of, certified, text_of


def arrived_as(message: Any) -> Arrived:
    headers = dict(message.headers)
    return Arrived(
        message.data or b"", headers["event-id"], headers["topic"], headers["content-type"], headers
    )


class TestNats(NetworkContract, SinkContract):
    type = "nats"

    @pytest.fixture
    async def case(self, nats_server: services.Nats) -> AsyncIterator[SinkCase]:
        name = services.unique("s")
        user, password = services.NATS_USERS["writer"], services.NATS_PASSWORD
        config = {"server": nats_server.server, "subject": f"{name}.events"}
        credentials = {"username": user, "password": password}
        async with AsyncExitStack() as stack:
            client = await nats.connect(
                f"nats://{nats_server.server}",
                user=services.NATS_USERS["owner"],
                password=password,
            )
            stack.push_async_callback(client.close)
            stream = client.jetstream()
            await stream.add_stream(StreamConfig(name, subjects=[f"{name}.events"]))
            full = StreamConfig(
                f"{name}-full",
                subjects=[f"{name}.full"],
                max_bytes=1,
                discard=DiscardPolicy.NEW,
            )
            await stream.add_stream(full)

            async def arrived() -> list[Arrived]:
                last = (await stream.stream_info(name)).state.last_seq
                return [arrived_as(await stream.get_msg(name, seq)) for seq in range(1, last + 1)]

            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            yield SinkCase(
                config,
                arrived,
                {
                    "wrong_credentials": Trouble(
                        credentials={**credentials, "password": "a-wrong-guess"}
                    ),
                    "missing_target": Trouble({**config, "subject": f"{name}.nobodys"}),
                    "refused_connection": Trouble({**config, "server": f"127.0.0.1:{refusing}"}),
                    "time_out": Trouble({**config, "server": f"127.0.0.1:{silent}"}, seconds=0.3),
                    "throttling": Trouble({**config, "subject": f"{name}.full"}),
                    "too_large": Trouble(delivery=a_delivery(data=b"x" * (2 << 20))),
                },
                credentials,
            )

    async def test_a_subject_that_is_not_the_users_is_said_at_once(
        self, case: SinkCase, open_sink: Callable[..., Sink]
    ) -> None:
        sink = open_sink({**case.config, "subject": "forbidden"}, timeout=3 * LATEST)
        async with asyncio.timeout(LATEST):
            for _ in range(2):
                with pytest.raises(Unavailable, match="permission_denied"):
                    await sink.deliver(a_delivery())


TLS = """
tls { cert_file: "%s", key_file: "%s", ca_file: "%s", verify: %s }
"""
TOKEN, OWNER, USER, ACCOUNTS = "a-long-token", Keys("U"), Keys("U"), Accounts()
PASSWORD = services.NATS_PASSWORD


class Way(NamedTuple):
    """How a server knows people: its settings, a user's credentials and those of another, and how
    the test itself logs in."""

    settings: str
    right: dict[str, str]
    wrong: dict[str, str]
    owner: dict[str, Any]


WAYS = {
    "password": Way(
        f'authorization {{ user: writer, password: "{PASSWORD}" }}',
        {"username": "writer", "password": PASSWORD},
        {"username": "writer", "password": "a-wrong-guess"},
        {"user": "writer", "password": PASSWORD},
    ),
    "token": Way(
        f'authorization {{ token: "{TOKEN}" }}',
        {"token": TOKEN},
        {"token": "a-wrong-guess"},
        {"token": TOKEN},
    ),
    "nkey": Way(
        f"authorization {{ users = [ {{ nkey: {USER.public} }}, "
        f'{{ user: owner, password: "{PASSWORD}" }} ] }}',
        {"nkey_seed": USER.seed},
        {"nkey_seed": Keys("U").seed},
        {"user": "owner", "password": PASSWORD},
    ),
    "creds": Way(
        ACCOUNTS.settings,
        {"creds": ACCOUNTS.creds(USER)},
        {"creds": Accounts().creds(USER)},
        {"user_jwt_cb": lambda: ACCOUNTS.jwt(OWNER).encode(), "signature_cb": OWNER.signature},
    ),
}


@asynccontextmanager
async def secured_stream(
    way: Way, tls: Certified, own: dict[str, str], *, verify: bool
) -> AsyncIterator[Secured]:
    """A subject of a server's that does TLS, and asks for clients' certificates or not."""
    name, asks = services.unique("s"), str(verify).lower()
    server = services.own_nats(way.settings + TLS % (tls.certificate, tls.key, tls.ca, asks))
    context = tls_context(text_of(tls.authority.cert_pem), *own.values())
    try:
        client = await nats.connect(
            f"nats://{server.server}", tls=context, tls_hostname=NAME, **way.owner
        )
        stream = client.jetstream()
        await stream.add_stream(StreamConfig(name, subjects=[name]))

        async def arrived() -> int:
            return int((await stream.stream_info(name)).state.messages)

        place = f"{NAME}:{server.server.rpartition(':')[2]}"
        config = {"server": place, "subject": name, "tls": True}
        yield Secured("nats", config, way.right, tls.authority, arrived, own)
        await client.close()
    finally:
        server.kill()


class TestNatsTls(TlsContract):
    """On a server that lets nobody in without a certificate."""

    greeting = b'INFO {"auth_required": true, "max_payload": 1048576, "headers": true}\r\n'

    @pytest.fixture
    async def secured(self) -> AsyncIterator[Secured]:
        tls = certified(services.workspace())
        own = a_client_of(tls.authority)
        async with secured_stream(WAYS["password"], tls, own, verify=True) as secured:
            yield secured

    async def test_a_server_that_asks_for_a_certificate_gets_none(self, secured: Secured) -> None:
        trouble = await outcome(replace(secured, own={}), secured.trusting, seconds=3.0)
        assert isinstance(trouble, Unavailable)
        assert trouble.code in CLOSED


@pytest.mark.parametrize("name", WAYS)
async def test_users_are_known_in_each_way_over_tls(name: str) -> None:
    way, tls = WAYS[name], certified(services.workspace())
    async with secured_stream(way, tls, {}, verify=False) as secured:
        answer = await outcome(secured, secured.trusting)
        assert answer.code == "OK", str(answer)
        assert await secured.arrived() == 1
        trouble = await outcome(replace(secured, credentials=way.wrong), secured.trusting)
    assert isinstance(trouble, Unavailable)
    assert trouble.code == "authentication_failed"
    told = f"{trouble} {trouble.answer}"
    for field, secret in way.wrong.items():
        assert field == "username" or secret not in told


async def test_a_server_that_wants_tls_gets_no_password_in_plain_text() -> None:
    tls = certified(services.workspace())
    async with secured_stream(WAYS["password"], tls, {}, verify=False) as secured:
        trouble = await outcome(secured, {**secured.config, "tls": False}, seconds=3.0)
    assert trouble.code == "tls_error"


@pytest.mark.parametrize(
    "entered",
    [
        {"nkey_seed": "SU"},
        {"nkey_seed": USER.seed[::-1]},
        {"nkey_seed": USER.public},
        {"nkey_seed": Keys("A").seed},
        {"creds": USER.seed},
        {"creds": ACCOUNTS.creds(Keys("A"))},
    ],
)
def test_what_is_no_users_key_is_refused_and_not_repeated(entered: dict[str, str]) -> None:
    config = {"server": "nats.example:4222", "subject": "s"}
    with pytest.raises(InvalidValue, match=rf"credentials\.{next(iter(entered))}") as caught:
        load_sinks().check("nats", config, entered)
    assert not any(secret in str(caught.value) for secret in entered.values() if len(secret) > 2)
