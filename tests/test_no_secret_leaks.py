"""Secrets that can be recognised are planted everywhere; then everything that the router has
written, sent to Kafka and Redis, stored or answered is searched for them."""

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import httpx
import pytest
import redis as redis_client
from rich.console import Console
from sqlalchemy import MetaData, create_engine, select

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.subscription import Reading, Subscription
from event_router.consumers.testing.values import a_delivery, a_destination, local_resources
from event_router.router.commands.doctor import as_table, examine
from event_router.router.settings import SettingsError, describe_settings, read_settings
from event_router.router.store.ports import DestinationFields
from event_router.router.store.secrets import Secrets
from event_router.schemas.errors import Rejected, Unavailable
from tests import services
from tests.https import issued
from tests.loop import destination
from tests.receivers import scripted
from tests.system import System, environment, running
from tests.test_loop_live import Receiver


def _planted(name: str) -> str:
    return f"planted{name}{os.urandom(8).hex()}"


CLIENT = issued("client")


def _key(name: str) -> str:
    """Base64 of 32 bytes that can be recognised, too."""
    return base64.b64encode(_planted(name)[:32].ljust(32, "x").encode()).decode()


@dataclass
class Planted:
    """Each a text that stands nowhere but where it was planted."""

    api_key: str = field(default_factory=lambda: _planted("apikey"))
    jwt_secret: str = field(default_factory=lambda: _planted("jwt") * 2)
    encryption_key: str = field(default_factory=lambda: _key("encrypts"))
    operator_secret: str = field(default_factory=lambda: _planted("operator"))
    redis_password: str = field(default_factory=lambda: _planted("redis"))
    database_password: str = field(default_factory=lambda: _planted("sql"))
    webhook_secret: str = field(default_factory=lambda: _key("webhook"))
    header: str = field(default_factory=lambda: _planted("header"))
    url: str = field(default_factory=lambda: _planted("url"))
    client_key: str = CLIENT.key.splitlines()[1]  # a line of it
    sasl_password: str = field(default_factory=lambda: _planted("sasl"))
    mistaken: str = field(default_factory=lambda: _planted("mistake"))
    wrong_key: str = field(default_factory=lambda: _planted("wrongkey"))
    query: str = field(default_factory=lambda: _planted("query"))
    signature: str = field(default_factory=lambda: _planted("signature"))
    row: str = field(default_factory=lambda: _planted("row"))
    rabbitmq: str = field(default_factory=lambda: _planted("rabbit"))
    nats: str = field(default_factory=lambda: _planted("nats"))
    nats_token: str = field(default_factory=lambda: _planted("token"))
    aws_secret: str = field(default_factory=lambda: _planted("aws"))
    aws_session: str = field(default_factory=lambda: _planted("session"))
    gcp: str = field(default_factory=services.service_account)
    gcp_broken: str = field(default_factory=lambda: _planted("gcp"))
    azure: str = field(default_factory=lambda: _key("azure"))
    postgres: str = field(default_factory=lambda: _planted("postgres"))
    hookdeck: str = field(default_factory=lambda: _planted("hookdeck"))
    cloudflare: str = field(default_factory=lambda: _planted("cloudflare"))
    redis_stream: str = field(default_factory=lambda: _planted("stream"))

    def all(self, *but: str) -> dict[str, str]:
        return {name: text for name, text in vars(self).items() if name not in but}


def found(planted: Mapping[str, str], written: bytes) -> set[str]:
    """The names of those that stand in it, as they are or encoded."""
    names = set()
    for name, text in planted.items():
        ways = {text.encode(), quote(text, safe="").encode(), base64.b64encode(text.encode())}
        if name in ("webhook_secret", "encryption_key", "azure"):
            ways.add(base64.b64decode(text))
        if name == "gcp":  # any line of its key
            ways |= {line.encode() for line in json.loads(text)["private_key"].splitlines()[1:-1]}
        names |= {name for way in ways if way in written}
    return names


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def locked_redis(planted: Planted) -> Iterator[str]:
    server = services.own_redis("--requirepass", planted.redis_password)
    yield server.url.replace("redis://", f"redis://:{planted.redis_password}@")
    server.kill()


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(netloc=f"postgres:{password}@{parts.netloc.rpartition('@')[2]}")
    )


@pytest.fixture
def settings(
    kafka: services.Kafka,
    locked_redis: str,
    postgres_url: str,
    namespace: str,
    planted: Planted,
    tmp_path: Path,
) -> dict[str, str]:
    registry = _with_password(postgres_url, planted.database_password)
    return environment(
        kafka.bootstrap,
        locked_redis,
        tmp_path,
        NAMESPACE=namespace,
        DATABASE=registry,
        SECRETS_KEYS=f"k1:{planted.encryption_key}",
        API_KEY=planted.api_key,
        JWT_SECRET=planted.jwt_secret,
        OPERATOR_EVENTS_URL="http://127.0.0.1:9/",
        OPERATOR_EVENTS_SECRET=planted.operator_secret,
        OPERATOR_EVENTS_TOPICS="*",
        MAX_DESTINATIONS_PER_TENANT="30",
        RETRY_SCHEDULE="0.2,30",
        DELIVERY_TIMEOUT="2",
    )


@dataclass
class Asked:
    """Requests, and all that was answered: what may show a destination as it is stands apart."""

    http: httpx.AsyncClient
    answered: bytearray = field(default_factory=bytearray)
    shown: bytearray = field(default_factory=bytearray)

    async def __call__(self, method: str, path: str, *, shows: bool = False, **more: Any) -> int:
        answer = await self.http.request(method, f"/api/v1{path}", **more)
        into = self.shown if shows and answer.is_success else self.answered
        into += f"{answer.status_code} {answer.headers} {answer.text}\n".encode()
        return answer.status_code


@asynccontextmanager
async def asking(system: System, key: str) -> AsyncIterator[Asked]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=system.api, headers=headers, timeout=30) as http:
        yield Asked(http)


def _webhook(url: str, planted: Planted, **more: Any) -> dict[str, Any]:
    return {
        "type": "webhook",
        "topics": "*",
        "config": {
            "url": f"{url}/{planted.url}?token={planted.query}",
            "custom_headers": f'{{"authorization": "Bearer {planted.header}"}}',
        },
        "credentials": {"secret": f"whsec_{planted.webhook_secret}"},
        "delivery_metadata": {"x-own": planted.header},
        **more,
    }


def _kafka(broker: str, planted: Planted) -> dict[str, Any]:
    return {
        "id": "kafka",
        "type": "kafka",
        "topics": "*",
        "config": {"brokers": broker, "topic": "x", "tls": "false", "sasl_mechanism": "plain"},
        "credentials": {"username": "u", "password": planted.sasl_password},
    }


def _newer(planted: Planted) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Type, config and credentials of destinations on a port where nobody listens."""
    at, user = "127.0.0.1:9", {"username": "somebody"}
    aws = {"key": "AKIAEXAMPLE", "secret": planted.aws_secret, "session": planted.aws_session}
    http = {"endpoint": f"http://{at}"}
    region = {**http, "region": "eu-west-1"}
    arn = "arn:aws:sns:eu-west-1:123456789012:topic"
    queue = f"http://{at}/1/queue"
    topic = {"project_id": "p", "topic": "t", "endpoint": f"https://{at}"}
    broken = json.dumps({**json.loads(planted.gcp), "private_key": planted.gcp_broken})
    bus = f"Endpoint=sb://{at};SharedAccessKeyName=a;SharedAccessKey={planted.azure}"
    table = {"server": at, "database": "d", "table": "t"}
    return [
        ("rabbitmq", {"server_url": at, "exchange": "e"}, {**user, "password": planted.rabbitmq}),
        ("nats", {"server": at, "subject": "s"}, {**user, "password": planted.nats}),
        ("nats", {"server": at, "subject": "s"}, {"token": planted.nats_token}),
        ("aws_sqs", {"queue_url": queue}, aws),
        ("aws_sns", {**http, "topic_arn": arn}, aws),
        ("aws_s3", {**region, "bucket": "bucket"}, aws),
        ("aws_kinesis", {**region, "stream_name": "s"}, aws),
        ("aws_eventbridge", {**region, "event_bus_name": "b"}, aws),
        ("gcp_pubsub", topic, {"service_account_json": planted.gcp}),
        ("gcp_pubsub", topic, {"service_account_json": broken}),
        ("azure_servicebus", {"name": "q"}, {"connection_string": bus}),
        ("postgres", table, {**user, "password": planted.postgres}),
        ("redis_stream", {"server": at, "stream": "s"}, {"password": planted.redis_stream}),
    ]


def _elsewhere(planted: Planted) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """As in `_newer`; but their servers are on the internet, so nothing may be sent to them."""
    token = base64.b64encode(f"src_1:{planted.hookdeck}".encode()).decode()
    queue = {"account_id": "0" * 32, "queue_id": "1" * 32}
    return [
        ("hookdeck", {}, {"token": token}),
        ("cloudflare_queues", queue, {"api_token": planted.cloudflare}),
    ]


def _name(kind: str, number: int) -> str:
    return f"{kind}_{number}"


async def _make_newer(ask: Asked, planted: Planted) -> None:
    path, off = "/tenants/acme/destinations", {"disabled_at": "2026-01-01T00:00:00Z"}
    for all_of_them, more in ((_newer(planted), {}), (_elsewhere(planted), off)):
        for number, (kind, config, credentials) in enumerate(all_of_them):
            body = {"type": kind, "topics": "*", "config": config, "credentials": credentials}
            body |= {"id": _name(kind, number), **more}
            assert await ask("POST", path, shows=True, json=body) == 201, body


async def _upload(ask: Asked, planted: Planted) -> None:
    """A batch of which no row is accepted; and first the same with a key that is wrong."""
    to, rows = "/v2/datasets/org:acme/upload", f"id,a\n,{planted.row}\nx,2,{planted.row}\n"
    names = {"resource_identifier": "orders", "file_name": "rows.csv"}
    params = names | {"X-Amz-Signature": planted.signature}  # as in a URL that was signed
    wrong = {"Authorization": f"Bearer {planted.mistaken}"}
    refused = await ask.http.put(to, params=params, content=rows, headers=wrong)
    uploaded = await ask.http.put(to, params=params, content=rows)
    assert (refused.status_code, uploaded.status_code) == (401, 200)
    body = {"file_name": [uploaded.json()["data"]["file_name"]], "id_field": "id"}
    begun = await ask.http.post("/v2/events/org:acme:orders/ingest", json=body)
    path = f"/v2/jobs/{begun.json()['data']['job_uuid']}"
    async with asyncio.timeout(60):
        while (job := await ask.http.get(path)).json()["data"]["status"] != "FAILURE":
            await asyncio.sleep(0.1)
    for answer in (refused, uploaded, begun, job):
        ask.answered += answer.content


def _as_key(secret: str) -> str:
    return f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"


def _mistakes(url: str, secret: str) -> list[dict[str, Any]]:
    """Bodies with a secret where it is wrong."""
    fine = {"type": "webhook", "topics": "*", "config": {"url": url}}
    http, keys = f"http://u:{secret}@127.0.0.1:9", {"key": "AKIAEXAMPLE", "secret": "s"}
    table = {"server": f"u:{secret}@127.0.0.1:9", "database": "d", "table": "t"}
    return [
        {**fine, "credentials": {"secret": secret}},
        {**fine, "credentials": {"secret": {"a": secret}}},
        {**fine, "credentials": {"unknown": secret}},
        {**fine, "credentials": secret},
        {**fine, "credentials": [secret]},
        {**fine, "credentials": {"rotate_secret": secret}},
        {**fine, "credentials": {"secret": "whsec_" + "a" * 44, "previous_secret": secret}},
        {**fine, "credentials": {"client_certificate": secret, "client_key": secret}},
        {**fine, "credentials": {**CLIENT.credentials, "client_key": _as_key(secret)}},
        {**fine, "secret": secret},
        {**fine, "config": {"url": url, "secret": secret}},
        {**fine, "config": {"url": f"https://user:{secret}@example.com/"}},
        {**fine, "config": {"url": f"ftp://user:{secret}@example.com/"}},
        {**fine, "config": {"url": f"https://user:a b{secret}@example.com/"}},
        {**fine, "config": {"url": f"https://user:a/{secret}@example.com/"}},
        {**fine, "config": {"url": f"https://{secret}@example.com:99999/"}},
        {**fine, "config": {"url": url, "custom_headers": f'{{"authorization": "{secret}\\n"}}'}},
        {
            **fine,
            "config": {"url": url, "custom_headers": f'{{"authorization": {{"{secret}": 1}}}}'},
        },
        {**fine, "config": {"url": url, "custom_headers": f"authorization: {secret}"}},
        {**fine, "config": {"url": url, "ca_certificate": _as_key(secret)}},
        {**fine, "type": "kafka", "config": {"password": secret}},
        {**fine, "type": "kafka", "config": {"brokers": f"kafka://u:{secret}@h:1", "topic": "t"}},
        {**fine, "type": "aws_sqs", "credentials": {"key": 1, "secret": [secret]}},
        {**fine, "type": "rabbitmq", "config": {"server_url": f"amqp://u:{secret}@h"}},
        {**fine, "type": "aws_sqs", "config": {"queue_url": f"{http}/1/q"}, "credentials": keys},
        {**fine, "type": "nats", "config": {"server": f"nats://u:{secret}@h:1", "subject": "s"}},
        {**fine, "type": "postgres", "config": table, "credentials": {"username": "u"}},
        {**fine, "type": "redis_stream", "config": {"server": f":{secret}@h:1", "stream": "s"}},
        {**fine, "type": "gcp_pubsub", "credentials": {"service_account_json": secret}},
    ]


async def _make_mistakes(ask: Asked, planted: Planted, url: str) -> None:
    secret = planted.mistaken
    for body in _mistakes(url, secret):
        assert await ask("POST", "/tenants/acme/destinations", json=body) in (400, 422), body
        patch = {name: body[name] for name in ("config", "credentials") if name in body}
        if body["type"] == "webhook" and "secret" not in body:
            status = await ask("PATCH", "/tenants/acme/destinations/hook", json=patch)
            assert status == 422, patch
    cut = b'{"type": "webhook", "credentials": {"secret": "%s' % secret.encode()
    assert await ask("POST", "/tenants/acme/destinations", content=cut) == 422
    for scheme in ("Bearer ", "bearer  ", "Basic ", "Token ", ""):
        headers = {"Authorization": f"{scheme}{secret}"}
        assert await ask("GET", "/tenants", headers=headers) == 401
        assert await ask("POST", "/publish", headers=headers, json={}) == 401
    portal = await ask.http.get("/portal", params={"token": secret})
    ask.answered += portal.content


async def _everything_happens(ask: Asked, system: System, planted: Planted, url: str) -> None:
    """Deliveries that work, that fail in every way, dead ones, tokens, edits, a rotation."""
    assert await ask("PUT", "/tenants/acme") == 201
    dead = "http://127.0.0.1:9"
    for name, to in (("hook", url), ("refused", dead), ("nowhere", "http://nowhere.invalid")):
        body = _webhook(to, planted, id=name)
        assert await ask("POST", "/tenants/acme/destinations", shows=True, json=body) == 201
    mutual = _webhook("https://127.0.0.1:9", planted, id="mutual")
    mutual["credentials"] |= CLIENT.credentials
    assert await ask("POST", "/tenants/acme/destinations", shows=True, json=mutual) == 201
    await _make_newer(ask, planted)
    await _upload(ask, planted)
    kafka = _kafka(system.settings.kafka, planted)
    assert await ask("POST", "/tenants/acme/destinations", json=kafka) == 201
    await _make_mistakes(ask, planted, url)
    for number in range(3):
        event = {"tenant_id": "acme", "topic": "a", "id": f"e{number}", "data": {"n": number}}
        assert await ask("POST", "/publish", json=event) == 202
    rotation = {"credentials": {"rotate_secret": "true"}}
    assert (
        await ask("PATCH", "/tenants/acme/destinations/refused", shows=True, json=rotation) == 200
    )
    for path in ("/tenants/acme/token", "/tenants/acme/portal"):
        assert await ask("GET", path) == 200
    for path in ("/tenants", "/tenants/acme", "/destination-types", "/dead"):
        assert await ask("GET", path) == 200
    assert await ask("GET", "/tenants/acme/destinations", shows=True) == 200


async def _all_attempted(ask: Asked, planted: Planted) -> None:
    """An attempt at each of the newer destinations stands in the log."""
    wanted = {_name(kind, number) for number, (kind, *_) in enumerate(_newer(planted))}
    async with asyncio.timeout(60):
        for name in wanted:
            asked = {"destination_id": name, "limit": "1"}
            while '"code"' not in (await ask.http.get("/api/v1/attempts", params=asked)).text:
                await asyncio.sleep(0.1)


async def _records(bootstrap: str, topics: tuple[str, ...], group: str) -> bytes:
    config = KafkaConfig(bootstrap, session_timeout=1.0)
    async with Admin(config) as admin:
        waiting = sum([sum((await admin.ends(topic)).values()) for topic in topics])
    written = bytearray()
    async with Subscription(topics, group, kafka=config, reading=Reading(drain=0.1)) as reading:
        while waiting > 0:
            for record in await anext(reading):
                waiting -= 1
                written += repr((record.headers, record.key, record.value)).encode()
    return bytes(written)


def _redis_dump(url: str) -> bytes:
    readers = {
        "string": lambda client, key: client.get(key),
        "hash": lambda client, key: client.hgetall(key),
        "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
        "set": lambda client, key: client.smembers(key),
        "list": lambda client, key: client.lrange(key, 0, -1),
    }
    with redis_client.Redis.from_url(url) as client:
        dump = [
            (key, readers[client.type(key).decode()](client, key)) for key in client.scan_iter()
        ]
    assert dump
    return repr(dump).encode()


def _rows(url: str) -> bytes:
    engine, tables = create_engine(url), MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        rows = [connection.execute(select(table)).all() for table in tables.sorted_tables]
    engine.dispose()
    assert any(rows)
    return repr(rows).encode()


def _files(folder: Path, pattern: str) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob(pattern))


async def _said(env: Mapping[str, str], *words: str, until: bytes = b"\0") -> bytes:
    """All that the command writes, whether it succeeds or not; it is ended after `until`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "event_router.router.cli", *words),
        env={**os.environ, **env, "COLUMNS": "500"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = bytearray()
    async with asyncio.timeout(60):
        while until not in said and (piece := await process.stdout.read(65536)):
            said += piece
    with suppress(ProcessLookupError):
        process.terminate()
    return bytes(said) + (await process.communicate())[0]


@pytest.mark.timeout(300)
async def test_no_secret_is_anywhere_but_where_it_belongs(
    settings: dict[str, str], planted: Planted, locked_redis: str, tmp_path: Path
) -> None:
    written: dict[str, bytes] = {}
    receiver = Receiver()
    async with scripted(receiver) as server, running(settings, tmp_path) as system:
        system.start("jobs")
        async with asking(system, planted.api_key) as ask:
            url = f"http://127.0.0.1:{server.port}"
            await _everything_happens(ask, system, planted, url)
            async with asyncio.timeout(60):
                while len(receiver.taken) != 3:
                    await asyncio.sleep(0.05)
            await _all_attempted(ask, planted)
            await system.quiet(30)
            for path in ("/attempts", "/events", "/dead"):
                await ask("GET", path)
            metrics = [await ask.http.get(f"{base}/metrics") for base in system.health.values()]
            ready = [await ask.http.get(f"{base}/readyz") for base in system.health.values()]
        written["api"] = bytes(ask.answered)
        written["shown"] = bytes(ask.shown)
        written["metrics"] = b"".join(one.content for one in (*metrics, *ready))
        commands = ("settings", "doctor", "dead list", "secrets status")
        said = await asyncio.gather(*(_said(system.env, *one.split()) for one in commands))
        written |= dict(zip(commands, said, strict=True))
        topics = system.topics
        written["redis"] = _redis_dump(locked_redis)
        written["registry"] = _rows(settings["ROUTER_DATABASE"])
        written["topics"] = await _records(
            system.settings.kafka, topics.all, f"{topics.namespace}x"
        )
    logs = [system.log(role).read_bytes() for role in ("stream", "deliver", "log", "api", "jobs")]
    written["logs"] = b"".join(logs)
    written["log database"] = _files(tmp_path, "log.sqlite*")
    assert b"e2" in written["log database"]
    assert b"connection_refused" in written["topics"]
    assert b"nothing_accepted" in written["registry"]
    assert planted.header in (receiver.requests[0].header("authorization") or "")

    every = planted.all()
    shown = planted.all("webhook_secret", "header", "url", "query")  # to whoever may know them
    assert {
        where: found(shown if where == "shown" else every, text) for where, text in written.items()
    } == {where: set() for where in written}


def _broken(planted: Planted) -> list[dict[str, str]]:
    secret = planted.mistaken
    return [
        {"REDIS": f"redis://:{secret}@127.0.0.1:1/0"},
        {"REDIS": f"redis://:{secret}@127.0.0.1:port/0"},
        {"REDIS": f"http://:{secret}@127.0.0.1"},
        {"DATABASE": f"postgresql://u:{secret}@127.0.0.1:1/x"},
        {"DATABASE": f"postgresql://u:{secret}@127.0.0.1:port/x"},
        {"DATABASE": f"mysql://u:{secret}@127.0.0.1/x"},
        {"LOG_DATABASE": f"postgresql://127.0.0.1:1/x?user=u&password={secret}"},
        {"KAFKA": f"u:{secret}@127.0.0.1:1"},
        {"KAFKA": f"kafka://u:{secret}@127.0.0.1:1"},
        {"KAFKA": "127.0.0.1:1", "KAFKA_SECURITY": "sasl_plaintext", "KAFKA_PASSWORD": secret},
        {"SECRETS_KEYS": secret},
        {"SECRETS_KEYS": f"k1:{secret}"},
        {"API_KEY": secret, "API_PORT": "x"},
        {"JWT_SECRET": secret[:8], "API_KEY": secret[:8]},
        {"OPERATOR_EVENTS_URL": f"https://u:{secret}@example.com/"},
        {"OPERATOR_EVENTS_SECRET": secret, "OPERATOR_EVENTS_URL": "nowhere"},
        {"PUBLIC_URL": f"ftp://u:{secret}@h/"},
    ]


async def test_settings_that_are_wrong_are_refused_without_the_secrets_in_them(
    settings: dict[str, str], planted: Planted
) -> None:
    """By whatever reads them, and by `router doctor`."""
    said = ""
    for more in _broken(planted):
        env = settings | {f"ROUTER_{name}": value for name, value in more.items()}
        out = io.StringIO()
        Console(file=out, width=500).print(as_table(await examine(env)))
        try:
            out.write(repr(describe_settings(read_settings(env))))
        except SettingsError as error:
            out.write(f"{error!s} {error!r} {''.join(traceback.format_exception(error))}")
        assert planted.mistaken[:8] not in out.getvalue(), more
        said += out.getvalue()
    assert "ROUTER_SECRETS_KEYS=***" in said


@pytest.mark.parametrize("role", ["init", "stream", "api"])
async def test_a_role_whose_services_refuse_it_logs_none_of_its_secrets(
    settings: dict[str, str], planted: Planted, role: str
) -> None:
    secret = planted.mistaken
    env = settings | {
        "ROUTER_KAFKA": "127.0.0.1:1",
        "ROUTER_KAFKA_SECURITY": "sasl_plaintext",
        "ROUTER_KAFKA_USERNAME": "u",
        "ROUTER_KAFKA_PASSWORD": secret,
        "ROUTER_REDIS": f"redis://:{secret}@127.0.0.1:1/0",
        "ROUTER_DATABASE": f"postgresql://u:{secret}@127.0.0.1:1/x",
    }
    said = await _said(env, role, until=b"127.0.0.1:1")
    assert b"127.0.0.1:1" in said
    assert not found(planted.all(), said)


async def test_what_a_destination_holds_is_in_no_trace(planted: Planted) -> None:
    one = destination("orders", config={"url": planted.url}, credentials={"a": planted.header})
    fields = DestinationFields("webhook", ("*",), one.config, one.credentials)
    settings = read_settings(
        {"ROUTER_API_KEY": planted.api_key, "ROUTER_REDIS": f"redis://:{planted.redis_password}@h"}
    )
    config = KafkaConfig(password=planted.sasl_password)
    shown = repr(
        (one, fields, settings, config, str(settings), Secrets([f"k:{planted.encryption_key}"]))
    )
    assert not found(planted.all(), shown.encode())


@pytest.mark.parametrize("index", range(len(_newer(Planted()))))
async def test_a_sink_whose_server_is_not_there_tells_none_of_its_secrets(
    planted: Planted, index: int, caplog: pytest.LogCaptureFixture
) -> None:
    kind, config, credentials = _newer(planted)[index]
    with caplog.at_level("DEBUG", "event_router"):
        async with local_resources(timeout=2.0) as resources:
            sink = load_sinks().open(a_destination(kind, config, credentials), resources)
            with pytest.raises((Unavailable, Rejected)) as caught:
                await sink.deliver(a_delivery())
            await sink.aclose()
    error = caught.value
    assert isinstance(error, Unavailable | Rejected)
    told = [str(error), repr(error), error.detail, repr(error.answer), caplog.text]
    assert not found(planted.all(), "\n".join(told).encode()), told
