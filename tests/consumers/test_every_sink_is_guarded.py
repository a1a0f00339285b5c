"""Every type of destination that leads to a host asks the guard, for each of its fields that does.

A new type, or a new field, has to be entered here: then it is tried, too.
"""

import asyncio
import base64
import itertools
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from event_router.consumers.addresses import FRESH, Resolver, networks, system_lookup
from event_router.consumers.http1.sender import Sender
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing.values import a_delivery, a_destination, resources_with
from event_router.schemas.errors import EventRouterError, Rejected, Unavailable
from tests import services

SINKS = load_sinks()
NAME = "moves.example"
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"

AWS = {"key": "AKIA", "secret": "secret"}
USER = {"username": "user", "password": "password"}
ARN = "arn:aws:sns:eu-west-1:123456789012:topic"
EMULATOR = "SharedAccessKeyName=a;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"


class Way(NamedTuple):
    """A field that leads somewhere, and a destination in which it does: `{at}` is host:port."""

    field: str
    config: Mapping[str, Any]
    credentials: Mapping[str, Any]


def _account() -> str:
    account = json.loads(services.service_account())
    return json.dumps({**account, "token_uri": f"http://{INSIDE}:1/token"})


WAYS: dict[str, list[Way]] = {
    "aws_eventbridge": [
        Way(
            "endpoint",
            {"region": "eu-west-1", "event_bus_name": "b", "endpoint": "http://{at}"},
            AWS,
        )
    ],
    "aws_kinesis": [
        Way("endpoint", {"region": "eu-west-1", "stream_name": "s", "endpoint": "http://{at}"}, AWS)
    ],
    "aws_s3": [
        Way("endpoint", {"region": "eu-west-1", "bucket": "bucket", "endpoint": "http://{at}"}, AWS)
    ],
    "aws_sns": [Way("endpoint", {"topic_arn": ARN, "endpoint": "http://{at}"}, AWS)],
    "aws_sqs": [
        Way("queue_url", {"queue_url": "http://{at}/1/queue"}, AWS),
        Way("endpoint", {"queue_url": f"https://{OUTSIDE}/1/q", "endpoint": "http://{at}"}, AWS),
    ],
    "azure_servicebus": [
        Way(
            "connection_string",
            {"name": "q"},
            {"connection_string": "Endpoint=sb://{at};" + EMULATOR},
        ),
        Way(
            "connection_string",
            {"name": "q"},
            {"connection_string": "Endpoint=sb://{at};Endpoint=sb://{at};" + EMULATOR},
        ),
    ],
    "gcp_pubsub": [
        Way(
            "endpoint",
            {"project_id": "p", "topic": "t", "endpoint": "{at}"},
            {"service_account_json": _account()},
        ),
        Way(
            "endpoint",
            {"project_id": "p", "topic": "t", "endpoint": "https://{at}"},
            {"service_account_json": _account()},
        ),
    ],
    "kafka": [Way("brokers", {"brokers": "{at}", "topic": "t", "tls": False}, {})],
    "nats": [Way("server", {"server": "{at}", "subject": "s"}, {})],
    "postgres": [
        Way("server", {"server": "{at}", "database": "d", "table": "t", "tls": False}, USER)
    ],
    "rabbitmq": [Way("server_url", {"server_url": "{at}", "exchange": "e"}, USER)],
    "redis_stream": [Way("server", {"server": "{at}", "stream": "s"}, {})],
    "webhook": [
        Way("url", {"url": "http://{at}/"}, {"secret": "whsec_" + "a" * 44}),
        Way("url", {"url": "http://{at}/a?b=http://c@d/#e"}, {"secret": "whsec_" + "a" * 44}),
    ],
}
CERTIFICATES = "ca_certificate client_certificate client_key"
HARMLESS: dict[str, str] = {
    "aws_eventbridge": "region event_bus_name key secret session",
    "aws_kinesis": "stream_name region partition_key_template key secret session",
    "aws_s3": "bucket region key_template storage_class key secret session",
    "aws_sns": "topic_arn key secret session",
    "aws_sqs": "key secret session",
    "azure_servicebus": "name",
    "cloudflare_queues": "account_id queue_id api_token",
    "file": "path max_bytes keep",
    "gcp_pubsub": "project_id topic service_account_json",
    "hookdeck": "token",
    "kafka": f"topic tls sasl_mechanism partition_key_template username password {CERTIFICATES}",
    "nats": f"subject tls username password token nkey_seed creds {CERTIFICATES}",
    "postgres": f"database table data_type tls username password {CERTIFICATES}",
    "rabbitmq": f"exchange tls username password {CERTIFICATES}",
    "redis_stream": f"stream tls database max_length username password {CERTIFICATES}",
    "webhook": f"custom_headers secret previous_secret previous_secret_invalid_at {CERTIFICATES}",
}
"""Fields that choose no host, each looked at: where one is put into the name of a host, or into a
path, its pattern lets nothing through that could change which host it is."""

EACH = [
    pytest.param(kind, way, id=f"{kind}-{way.field}-{number}")
    for kind, ways in WAYS.items()
    for number, way in enumerate(ways)
]
ODD = [
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "[::1]",
    "[::ffff:7f00:1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
]


@pytest.mark.parametrize("kind", SINKS.names)
def test_every_field_was_looked_at(kind: str) -> None:
    described = SINKS.described(kind)
    entered = {*described.Config.model_fields, *described.Credentials.model_fields}
    leads = {way.field for way in WAYS.get(kind, [])}
    harmless = set(HARMLESS.get(kind, "").split())
    assert entered == leads | harmless, "does the new one choose a host? then try it above"
    assert not leads & harmless


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("aws_s3", {"bucket": "b", "region": "x@127.0.0.1/#"}),
        ("aws_s3", {"bucket": "b", "region": "eu-west-1.evil.example/"}),
        ("aws_kinesis", {"stream_name": "s", "region": "127.0.0.1:80/?"}),
        ("aws_eventbridge", {"event_bus_name": "b", "region": "a.b"}),
        ("aws_sns", {"topic_arn": "arn:aws:sns:127.0.0.1/#:123456789012:topic"}),
        ("cloudflare_queues", {"account_id": "../../x", "queue_id": "0" * 32}),
        ("cloudflare_queues", {"account_id": "0" * 32, "queue_id": "@127.0.0.1/"}),
    ],
)
def test_what_is_put_into_the_name_of_a_host_can_not_change_it(
    kind: str, config: dict[str, str]
) -> None:
    credentials = {"api_token": "t"} if kind == "cloudflare_queues" else AWS
    with pytest.raises(EventRouterError, match=r"^config\.(region|topic_arn|account_id|queue_id)"):
        SINKS.check(kind, config, credentials)


@pytest.mark.parametrize("source", ["src_1", "@127.0.0.1/", "..", "//127.0.0.1", "a/../../b"])
async def test_a_token_of_hookdeck_can_not_change_the_host(source: str) -> None:
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        raise OSError("nobody is there")

    token = base64.b64encode(f"{source}:key".encode()).decode()
    way = Way("", {}, {"token": token})
    with pytest.raises((Unavailable, Rejected)):
        async with opened("hookdeck", way, "", Resolver(lookup=lookup)) as sink:
            await sink.deliver(a_delivery())
    assert asked == (["events.hookdeck.com"] if source in ("src_1", "..") else [])


@dataclass
class Ports:
    """The same port inside and outside, where each connection is counted and closed."""

    port: int = 0
    reached: list[str] = field(default_factory=list)


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    found = Ports()

    def taking(address: str) -> Any:
        async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.reached.append(address)
            writer.close()

        return take

    async with AsyncExitStack() as stack:
        for address in (INSIDE, OUTSIDE):
            server = await asyncio.start_server(taking(address), address, found.port)
            await stack.enter_async_context(server)
            found.port = server.sockets[0].getsockname()[1]
        yield found


@asynccontextmanager
async def opened(
    kind: str, way: Way, at: str, resolver: Resolver, timeout: float = 1.5
) -> AsyncIterator[Any]:
    """The sink, with `at` where its way leads."""

    def filled(given: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value.replace("{at}", at) if isinstance(value, str) else value
            for name, value in given.items()
        }

    destination = a_destination(kind, filled(way.config), filled(way.credentials))
    sender = Sender(resolver)
    try:
        sink = SINKS.open(destination, resources_with(sender, resolver, timeout=timeout))
        yield sink
        await sink.aclose()
    finally:
        await sender.aclose()


@pytest.mark.parametrize(("kind", "way"), EACH)
async def test_no_address_inside_is_reached_however_it_is_written(
    kind: str, way: Way, ports: Ports
) -> None:
    async with asyncio.timeout(60):
        for host in (INSIDE, *ODD):
            with pytest.raises(
                (Unavailable, Rejected), match=r"^(forbidden_address|dns_error|invalid_config)"
            ):
                async with opened(kind, way, f"{host}:{ports.port}", Resolver()) as sink:
                    await sink.deliver(a_delivery())
    assert ports.reached == []


@pytest.mark.parametrize(("kind", "way"), EACH)
async def test_a_name_that_moves_inside_is_never_followed(
    kind: str, way: Way, ports: Ports, names_asked: list[object]
) -> None:
    """The connection goes to the address that was vetted: nobody asks for the name again."""
    answers = itertools.chain([[OUTSIDE]], itertools.repeat([INSIDE]))
    times = itertools.count(0, FRESH)
    resolver = Resolver(
        networks(f"{OUTSIDE}/32"), lookup=lambda _: next(answers), clock=lambda: next(times)
    )
    async with asyncio.timeout(60), opened(kind, way, f"{NAME}:{ports.port}", resolver) as sink:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await sink.deliver(a_delivery())
    assert INSIDE not in ports.reached
    assert NAME not in names_asked


@pytest.mark.parametrize(("kind", "way"), EACH)
async def test_what_is_vetted_is_reached_at_that_address(kind: str, way: Way, ports: Ports) -> None:
    """Or the tests above would say nothing."""
    resolver = Resolver(networks(f"{OUTSIDE}/32"), lookup=lambda _: [OUTSIDE])
    async with asyncio.timeout(60), opened(kind, way, f"{NAME}:{ports.port}", resolver) as sink:
        with pytest.raises(Unavailable):
            await sink.deliver(a_delivery())
    assert set(ports.reached) == {OUTSIDE}


class Heard:
    """Names that Python's sockets have asked the system for, while it listens."""

    def __init__(self) -> None:
        self.names: list[object] | None = None
        sys.addaudithook(self._hear)  # there is no way to take one back

    def _hear(self, event: str, what: tuple[object, ...]) -> None:
        if self.names is not None and event == "socket.getaddrinfo":
            self.names.append(what[0])


HEARD = Heard()


@pytest.fixture
def names_asked() -> Iterator[list[object]]:
    names: list[object] = []
    HEARD.names = names
    yield names
    HEARD.names = None
    assert system_lookup("127.0.0.1") == ["127.0.0.1"]
