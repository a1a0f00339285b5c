"""The loop as a user runs it: roles as processes, events in, HTTP requests out, and what the API
says of them afterwards."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from event_router.consumers.kafka import KafkaConfig
from event_router.router.redis_pipe import RedisPipe
from event_router.router.store.log import SqlLog
from event_router.router.store.log_ports import DeadFilter
from event_router.router.store.paging import Paging
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.record import Message
from tests import services
from tests.kafka_clients import producing
from tests.receivers import Reader, Request, Writer, read_request, scripted
from tests.system import API_KEY, SECRET, TANSU, System, environment, running

Stack = tuple[str, str, dict[str, str]]
TENANT = "acme"


class Receiver:
    """Answers 200, but per path what `answers` holds before, and 503 where it is `down`; keeps all
    requests by path."""

    def __init__(self) -> None:
        self.answers: dict[str, list[int]] = {}
        self.requests: list[Request] = []
        self.taken: list[Request] = []
        self.down: set[str] = set()

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        while True:
            request = await read_request(reader)
            self.requests.append(request)
            status = self._status(self._path(request))
            if status < 300:
                self.taken.append(request)
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok".encode())
            await writer.drain()

    def _status(self, path: str) -> int:
        if path in self.down:
            return 503
        waiting = self.answers.get(path)
        return waiting.pop(0) if waiting else 200

    def _path(self, request: Request) -> str:
        return request.line.split()[1]

    def got(self, path: str) -> Counter[str]:
        """How often each event came to `path`, whatever was answered."""
        return Counter(one.header("webhook-id") for one in self.requests if self._path(one) == path)

    def delivered(self, path: str) -> Counter[str]:
        """How often each event was taken at `path`."""
        return Counter(one.header("webhook-id") for one in self.taken if self._path(one) == path)


@pytest.fixture(params=["kafka-sqlite", "kafka-postgres", "embedded"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Kafka's address, Redis' URL, and the settings that go with them."""
    if request.param == "embedded":
        tansu = request.getfixturevalue("tansu")
        yield tansu.bootstrap, request.getfixturevalue("valkey_url"), TANSU
        return
    kafka, redis = request.getfixturevalue("kafka"), request.getfixturevalue("redis_url")
    urls = {}
    if request.param == "kafka-postgres":
        server: services.Postgres = request.getfixturevalue("postgres_server")
        urls = {f"ROUTER_{name}": server.create_database() for name in ("DATABASE", "LOG_DATABASE")}
    yield kafka.bootstrap, redis, urls
    for url in urls.values():
        server.drop_database(url)


@asynccontextmanager
async def loop(stack: Stack, namespace: str, folder: Path) -> AsyncIterator["Loop"]:
    bootstrap, redis, more = stack
    env = environment(
        bootstrap, redis, folder, NAMESPACE=namespace, RETRY_SCHEDULE="0.2,0.2,0.2,0.2,1,1,1,1"
    )
    receiver = Receiver()
    async with scripted(receiver) as server, running(env | more, folder) as system:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(base_url=system.api, headers=headers, timeout=30) as http:
            yield Loop(system, receiver, f"http://127.0.0.1:{server.port}", http)


class Loop:
    """A running system with a receiver, and the calls that tests make."""

    def __init__(
        self, system: System, receiver: Receiver, url: str, http: httpx.AsyncClient
    ) -> None:
        self.system = system
        self.receiver = receiver
        self.url = url
        self.http = http

    @property
    def kafka(self) -> KafkaConfig:
        settings = self.system.settings
        return KafkaConfig(settings.kafka, idempotent=settings.kafka_idempotent)

    async def ask(self, method: str, path: str, status: int = 200, **json: Any) -> Any:
        answer = await self.http.request(method, f"/api/v1{path}", json=json or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def make_destination(self, name: str, **more: Any) -> None:
        body = {
            "id": name,
            "type": "webhook",
            "topics": "*",
            "config": {"url": f"{self.url}/{name}"},
            "credentials": {"secret": SECRET},
        }
        await self.ask("POST", f"/tenants/{TENANT}/destinations", 201, **{**body, **more})

    async def write(self, *messages: Message) -> None:
        async with producing(self.kafka) as producer:
            await producer.send(messages)

    async def until(
        self, true: Callable[[], bool | Awaitable[bool]], seconds: float = 40.0
    ) -> None:
        limit = time.monotonic() + seconds
        while True:
            found = true()
            if found if isinstance(found, bool) else await found:
                return
            logs = {role: self.system.log(role).read_text()[-800:] for role in self.system.roles}
            assert time.monotonic() < limit, logs
            await asyncio.sleep(0.05)


def binary(
    topic: str, event_id: str, data: bytes = b'{"n":1}', event: str = "order.made"
) -> Message:
    made = NewEvent(TENANT, event_id, "shop", event, "2026-01-01T00:00:00Z", data)
    return event_message(made, topic)


def structured(topic: str, event_id: str) -> Message:
    attributes = {"specversion": "1.0", "id": event_id, "source": "shop", "type": "order.made"}
    value = json.dumps({**attributes, "tenantid": TENANT, "data": {"n": 2}}).encode()
    return Message(topic, None, value, [("content-type", b"application/cloudevents+json")])


async def test_an_event_reaches_its_webhook_however_it_is_published(
    stack: Stack, namespace: str, tmp_path: Path
) -> None:
    async with loop(stack, namespace, tmp_path) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("healthy")
        await here.make_destination("flaky")
        await here.make_destination("large", filter={"data": {"n": {"$gte": 3}}})
        here.receiver.answers["/flaky"] = [503, 500]
        events = here.system.topics.events
        body = b'{ "n":  3, "price": 10.10, "id": 12345678901234567890 }'
        envelope = b'{"tenant_id":"acme","id":"enveloped","topic":"order.made","data":{"n":1}}'
        await here.write(
            binary(events, "binary", body),
            structured(events, "structured"),
            Message(events, None, envelope, []),
            Message(events, b"key", b"no event", [("x", b"y")]),
        )
        published = await here.ask(
            "POST",
            "/publish",
            202,
            tenant_id=TENANT,
            id="posted",
            topic="order.made",
            data={"n": 4},
        )
        assert sorted(published["destination_ids"]) == ["flaky", "healthy", "large"]
        ids = {"binary", "structured", "enveloped", "posted"}
        await here.until(lambda: here.receiver.got("/healthy").keys() == ids)
        await here.until(lambda: here.receiver.got("/flaky").total() == len(ids) + 2)
        await here.until(lambda: here.receiver.got("/large").keys() == {"binary", "posted"})

        [request] = [
            one
            for one in here.receiver.requests
            if one.line.startswith("POST /large ") and one.header("webhook-id") == "binary"
        ]
        assert request.body == body, "the payload arrives byte for byte"
        Webhook(SECRET).verify(request.body, dict(request.headers))

        again = await here.ask(
            "POST",
            "/publish",
            202,
            tenant_id=TENANT,
            id="posted",
            topic="order.made",
            data={"n": 4},
        )
        assert again["duplicate"] is True

        async def logged() -> bool:
            page = await here.ask("GET", f"/attempts?tenant_id={TENANT}&destination_id=flaky")
            return len(page["models"]) == len(ids) + 2

        await here.until(logged)
        page = await here.ask("GET", f"/events?tenant_id={TENANT}")
        assert {event["id"] for event in page["models"]} == ids
        event = await here.ask("GET", "/events/posted")
        assert event["data"] == {"n": 4}
        page = await here.ask("GET", f"/attempts?tenant_id={TENANT}&destination_id=flaky")
        codes = Counter(attempt["code"] for attempt in page["models"])
        assert codes == {"200": 4, "503": 1, "500": 1}

        await here.ask("POST", "/retry", 202, event_id="posted", destination_id="healthy")
        await here.until(lambda: here.receiver.got("/healthy")["posted"] == 2)
        assert await dead_reasons(here) == ["invalid_json"]


async def dead_reasons(here: Loop) -> list[str]:
    log = SqlLog(here.system.settings.log_url)
    try:
        page = await log.dead(DeadFilter(), Paging())
    finally:
        await log.aclose()
    return [one.reason for one in page.models]


async def test_a_destination_that_answers_410_is_disabled_and_keeps_what_waits(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("gone")
        here.receiver.answers["/gone"] = [410]
        await here.write(binary(here.system.topics.events, "e1"))

        async def disabled() -> bool:
            found = await here.ask("GET", f"/tenants/{TENANT}/destinations/gone")
            return found["disabled_at"] is not None

        await here.until(disabled)
        await here.ask("PUT", f"/tenants/{TENANT}/destinations/gone/enable")
        await here.until(lambda: here.receiver.got("/gone")["e1"] == 2)


async def test_a_kill_of_any_role_at_any_moment_loses_nothing(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("healthy")
        await here.make_destination("flaky")
        here.receiver.answers["/flaky"] = [503] * 100
        events = here.system.topics.events
        ids = {f"e{number}" for number in range(600)}
        publishing = asyncio.create_task(_publish_slowly(here, events, sorted(ids)))
        for role in ("stream", "deliver", "log", "stream", "deliver"):
            await asyncio.sleep(1.0)
            here.system.kill(role)
            here.system.start(role)
        await publishing
        await here.until(lambda: here.receiver.got("/healthy").keys() == ids, 60)
        await here.until(lambda: here.receiver.got("/flaky").keys() == ids, 60)

        async def logged() -> bool:
            page = await here.ask("GET", f"/events?tenant_id={TENANT}&limit=1000")
            return {event["id"] for event in page["models"]} == ids

        await here.until(logged)


async def test_redis_emptied_in_a_storm_of_retries_delays_and_loses_nothing(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("down")
        here.receiver.down.add("/down")
        ids = {f"e{number}" for number in range(300)}
        await here.write(*(binary(here.system.topics.events, one) for one in sorted(ids)))
        await here.until(lambda: len(here.receiver.requests) > 100)
        await _empty(redis_url)
        await asyncio.sleep(1)
        await _empty(redis_url)
        here.receiver.down.clear()
        await here.until(lambda: here.receiver.delivered("/down").keys() == ids, 100)
        assert here.receiver.delivered("/down") == dict.fromkeys(ids, 1)
        assert await dead_reasons(here) == []
        assert await here.system.command("sweep") == "0 missing, 0 parked, 0 had no room\n"


async def test_the_dead_are_seen_and_replayed_from_a_shell(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("down", topics=["order.made"])
        here.receiver.answers["/down"] = [500]
        no_retry = await here.ask(
            "POST",
            "/publish",
            202,
            tenant_id=TENANT,
            topic="order.made",
            eligible_for_retry=False,
            data={"n": 4},
        )
        listing = here.system.command

        async def died() -> bool:
            return await dead_reasons(here) == ["not_eligible_for_retry"]

        await here.until(died)
        [line] = [one for one in (await listing("dead", "list")).splitlines() if TENANT in one]
        place = line.split()[0]
        shown = await listing("dead", "show", place)
        assert "attempt 1 ended with 500" in shown
        assert '{"n":4}' in shown
        assert await listing("dead", "replay", place) == "replayed 1\n"
        await here.until(lambda: here.receiver.delivered("/down")[no_retry["id"]] == 1)
        assert await listing("dead", "replay", "--all") == "replayed 0\n"


async def _empty(redis_url: str) -> None:
    pipe = RedisPipe(redis_url)
    try:
        await pipe.call("FLUSHALL")
    finally:
        await pipe.aclose()


async def _publish_slowly(here: Loop, topic: str, ids: list[str]) -> None:
    async with producing(here.kafka) as producer:
        for event_id in ids:
            await producer.send([binary(topic, event_id)])
            await asyncio.sleep(0.008)
