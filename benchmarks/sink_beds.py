"""Destinations of the types whose speed is measured, each on a service that tests find or start."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import psycopg
from nats import connect as connect_nats
from nats.js.api import StreamConfig

from tests import services
from tests.contracts.sinks.aws_server import REGION, client_of, started

S = TypeVar("S", bound=services.Service)
TABLE = """CREATE TABLE events (event_id text, topic text, time timestamptz, content_type text,
           metadata jsonb, data bytea)"""


@dataclass(frozen=True, slots=True)
class Bed:
    """A destination on a service that runs."""

    config: dict[str, Any]
    credentials: dict[str, Any]
    files: Path | None = None


@asynccontextmanager
async def gcp_pubsub() -> AsyncIterator[Bed]:
    with running(services.pubsub()) as found:
        topic = services.unique()
        async with httpx.AsyncClient(base_url=found.http) as client:
            (await client.put(f"/projects/tests/topics/{topic}")).raise_for_status()
        config = {"project_id": "tests", "topic": topic, "endpoint": found.plain}
        yield Bed(config, {"service_account_json": "{}"})


@asynccontextmanager
async def aws_sqs() -> AsyncIterator[Bed]:
    """On ElasticMQ: moto counts a queue's messages for each that is sent."""
    with running(services.elasticmq()) as found:
        credentials = {"key": "AKIAANYBODY", "secret": "anything"}
        client = client_of("sqs", found.url, credentials)
        queue = client.create_queue(QueueName=services.unique())["QueueUrl"]
        client.close()
        yield Bed({"queue_url": queue}, credentials)


@asynccontextmanager
async def aws_kinesis() -> AsyncIterator[Bed]:
    with started() as found:
        client, stream = found.client("kinesis"), services.unique()
        client.create_stream(StreamName=stream, ShardCount=1)
        client.close()
        config = {"stream_name": stream, "region": REGION, "endpoint": found.url}
        yield Bed(config, found.credentials)


@asynccontextmanager
async def aws_eventbridge() -> AsyncIterator[Bed]:
    with started() as found:
        client, bus = found.client("events"), services.unique()
        client.create_event_bus(Name=bus)
        client.close()
        config = {"event_bus_name": bus, "region": REGION, "endpoint": found.url}
        yield Bed(config, found.credentials)


@asynccontextmanager
async def azure_servicebus() -> AsyncIterator[Bed]:
    with running(services.service_bus()) as found:
        queue = services.unique()
        async with httpx.AsyncClient(base_url=found.http) as client:
            (await client.put(queue)).raise_for_status()
        yield Bed({"name": queue}, {"connection_string": found.connection_string()})


@asynccontextmanager
async def nats() -> AsyncIterator[Bed]:
    with running(services.nats()) as found:
        name, password = services.unique("s"), services.NATS_PASSWORD
        owner = await connect_nats(
            f"nats://{found.server}", user=services.NATS_USERS["owner"], password=password
        )
        await owner.jetstream().add_stream(StreamConfig(name, subjects=[f"{name}.events"]))
        await owner.close()
        credentials = {"username": services.NATS_USERS["writer"], "password": password}
        yield Bed({"server": found.server, "subject": f"{name}.events"}, credentials)


@asynccontextmanager
async def kafka() -> AsyncIterator[Bed]:
    with running(services.kafka()) as found:
        topic = services.unique()
        await found.make_topics({topic: 1})
        yield Bed({"brokers": found.bootstrap, "topic": topic, "tls": False}, {})


@asynccontextmanager
async def redis_stream() -> AsyncIterator[Bed]:
    with running(services.redis()) as found:
        yield Bed({"server": urlsplit(found.url).netloc, "stream": services.unique()}, {})


@asynccontextmanager
async def postgres() -> AsyncIterator[Bed]:
    with running(services.postgres()) as found:
        parts = urlsplit(found.create_database())
        async with await psycopg.AsyncConnection.connect(services.plain(parts.geturl())) as made:
            await made.execute(TABLE)
        yield Bed(
            {
                "server": f"{parts.hostname}:{parts.port}",
                "database": parts.path[1:],
                "table": "events",
                "tls": False,
            },
            {"username": parts.username, "password": parts.password or "none"},
        )


@asynccontextmanager
async def file() -> AsyncIterator[Bed]:
    with TemporaryDirectory() as folder:
        yield Bed({"path": "events.jsonl"}, {}, Path(folder))


BEDS: dict[str, Callable[[], AbstractAsyncContextManager[Bed]]] = {
    "aws_eventbridge": aws_eventbridge,
    "aws_kinesis": aws_kinesis,
    "aws_sqs": aws_sqs,
    "azure_servicebus": azure_servicebus,
    "file": file,
    "gcp_pubsub": gcp_pubsub,
    "kafka": kafka,
    "nats": nats,
    "postgres": postgres,
    "redis_stream": redis_stream,
}


@contextmanager
def running(service: S) -> Iterator[S]:
    """It ends with the block if it is ours."""
    try:
        yield service
    finally:
        if service.process is not None:
            service.process.kill()
