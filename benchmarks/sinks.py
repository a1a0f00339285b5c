"""Sinks that take several deliveries in one call: one by one, and together.

python -m benchmarks.sinks [--write] [TYPE …]

The services are those that tests find or start. One by one means that each delivery waits for the
one before; together, that each call has as many as the sink takes. They alternate, and of each the
best of ROUNDS counts: what disturbs only adds.
"""

import argparse
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.document import write_between_markers
from event_router.consumers.ports import BatchSink
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.sinks.metadata import weight
from event_router.consumers.testing import a_delivery, a_destination, local_resources
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer
from tests import services
from tests.contracts.sinks.aws_server import started

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
DELIVERIES = 1000
SIZE = 500
ROUNDS = 3
S = TypeVar("S", bound=services.Service)
TABLE = """CREATE TABLE events (event_id text, topic text, time timestamptz, content_type text,
           metadata jsonb, data bytea)"""


@dataclass(frozen=True, slots=True)
class Bed:
    """A destination on a service that runs."""

    config: dict[str, Any]
    credentials: dict[str, Any]
    files: Path | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """Deliveries a second, and µs of CPU each, of this process alone."""

    rate: float
    cpu: float


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
    with started() as found:
        client = found.client("sqs")
        queue = client.create_queue(QueueName=services.unique())["QueueUrl"]
        client.close()
        yield Bed({"queue_url": queue}, found.credentials)


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
    "aws_sqs": aws_sqs,
    "file": file,
    "gcp_pubsub": gcp_pubsub,
    "kafka": kafka,
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


def deliveries() -> list[Delivery]:
    data = b'{"text": "%s"}' % (b"x" * (SIZE - 12))
    return [a_delivery(f"evt_{number}", data) for number in range(DELIVERIES)]


async def one_by_one(sink: BatchSink) -> None:
    for delivery in deliveries():
        await sink.deliver(delivery)


async def together(sink: BatchSink) -> None:
    for call in calls(deliveries(), sink):
        results = await sink.deliver_many(call)
        assert all(isinstance(result, Answer) for result in results), results


def calls(waiting: Sequence[Delivery], sink: BatchSink) -> list[list[Delivery]]:
    """As the sink's limits allow; all weigh the same."""
    size = max(min(sink.batch.count, sink.batch.bytes // weight(waiting[0])), 1)
    return [list(waiting[at : at + size]) for at in range(0, len(waiting), size)]


async def measured(way: Callable[[BatchSink], Awaitable[None]], sink: BatchSink) -> Rate:
    began, cpu = time.perf_counter(), time.process_time()
    await way(sink)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Rate(DELIVERIES / seconds, cpu / DELIVERIES * 1e6)


async def measure(name: str) -> tuple[Rate, Rate]:
    async with BEDS[name]() as bed, local_resources() as resources:
        destination = a_destination(name, bed.config, bed.credentials)
        sink = load_sinks().open(destination, replace(resources, files=bed.files))
        assert isinstance(sink, BatchSink)
        await sink.deliver(a_delivery())
        pairs = [
            (await measured(one_by_one, sink), await measured(together, sink))
            for _ in range(ROUNDS)
        ]
        await sink.aclose()
    singles, batches = zip(*pairs, strict=True)
    return best(singles), best(batches)


def best(rates: Sequence[Rate]) -> Rate:
    return Rate(max(one.rate for one in rates), min(one.cpu for one in rates))


def line(name: str, single: Rate, batch: Rate) -> tuple[str, ...]:
    return (
        f"`{name}`",
        f"{single.rate:,.0f}",
        f"{batch.rate:,.0f}",
        f"{batch.rate / single.rate:.1f}",
        f"{single.cpu:.0f}",
        f"{batch.cpu:.0f}",
    )


HEADS = ("type", "one by one, /s", "together, /s", "times", "µs CPU, one by one", "µs, together")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", choices=[*BEDS, []], help="all of them by default")
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.name}")
    options = parser.parse_args()
    lines = [line(name, *uvloop.run(measure(name))) for name in options.types or BEDS]
    table = Table(*HEADS, box=None)
    for row in lines:
        table.add_row(*row)
    Console(width=100).print(table)
    if options.write:
        rows = [HEADS, ("---",) * len(HEADS), *lines]
        text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        write_between_markers(DOCUMENT, "sinks", text)


if __name__ == "__main__":
    main()
