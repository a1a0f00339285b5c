"""How fast a batch job brings rows into the topic `events`, and what it costs.

    python -m benchmarks.batch [--rows 1000000] [--write]

Rows of about 200 bytes of JSON, on a Kafka and a Redis of its own. The role `jobs` is a process
alone with its job; its CPU and its largest memory are the kernel's figures. CPU is counted from
when the role is ready until the job has ended, both readings of the file included.
"""

import argparse
import asyncio
import csv
import gzip
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.table import Table

from benchmarks.document import write_between_markers
from benchmarks.processes import cpu_seconds
from event_router.consumers.kafka.admin import Admin
from event_router.router.adapters import kafka_config, open_uploads
from event_router.router.batch.uploads import Binding
from event_router.router.commands.init import initialise
from event_router.router.settings import read_settings
from event_router.router.store.job_ports import ENDED, Job, JobOptions, NewJob
from event_router.router.store.jobs import SqlJobs
from event_router.schemas.ids import new_id
from tests import services
from tests.system import System, environment

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
BINDING = Binding("bench", "bench", "orders")
BLOCK = 50_000
PART = 32 << 20
HEADERS = ("file", "rows", "rows/s", "rows per CPU-second", "CPU-s", "largest memory, MiB")


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds, and MiB."""

    name: str
    rows: int
    wall: float
    cpu: float
    memory: float

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            self.name,
            f"{self.rows:,}",
            f"{self.rows / self.wall:,.0f}",
            f"{self.rows / self.cpu:,.0f}",
            f"{self.cpu:.1f}",
            f"{self.memory:.0f}",
        )


def blocks(rows: int) -> Iterator[pa.Table]:
    """Rows that are no two alike, of 200 bytes once they are JSON."""
    for first in range(0, rows, BLOCK):
        numbers = range(first, min(first + BLOCK, rows))
        yield pa.table(
            {
                "id": [f"order-{number:012}" for number in numbers],
                "amount": [number * 0.25 for number in numbers],
                "customer": [number * 7919 % 1_000_003 for number in numbers],
                "currency": ["EUR", "USD"] * (len(numbers) // 2),
                "paid": [True, False] * (len(numbers) // 2),
                "note": [f"{number * 2654435761 % 2**32:010}" * 9 for number in numbers],
            }
        )


def write_parquet(path: Path, rows: int) -> None:
    """As pandas does: row groups of a million rows."""
    parquet.write_table(pa.concat_tables(blocks(rows)), path)


def write_csv(path: Path, rows: int) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        for number, table in enumerate(blocks(rows)):
            if not number:
                out.writerow(table.column_names)
            out.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))


def write_json(path: Path, rows: int) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for table in blocks(rows):
            file.write(b"\n".join(map(msgspec.json.encode, table.to_pylist())) + b"\n")


CASES: tuple[tuple[str, str, Callable[[Path, int], None], dict[str, Any]], ...] = (
    ("Parquet", "rows.parquet", write_parquet, {}),
    ("Parquet, ids of its own", "rows.parquet", write_parquet, {"id_field": "id"}),
    ("CSV", "rows.csv", write_csv, {}),
    ("JSON Lines, gzipped", "rows.jsonl.gz", write_json, {}),
)


@asynccontextmanager
async def laid() -> AsyncIterator[System]:
    """Topics and tables are made, and nothing runs."""
    kafka, redis = services.own_kafka(), services.own_redis()
    try:
        with TemporaryDirectory(prefix="event-router-bench-") as name:
            env = environment(kafka.bootstrap, redis.url, Path(name))
            system = System(env, Path(name), read_settings(env))
            async for _ in initialise(system.settings):
                pass
            try:
                yield system
            finally:
                system.stop()
    finally:
        kafka.stop()
        redis.stop()


async def measure(
    system: System, name: str, path: Path, rows: int, options: dict[str, Any]
) -> Figures:
    system.start("jobs")
    await system.ready()
    pid = system.roles["jobs"].pid
    stored = await _uploaded(system, path)
    jobs = SqlJobs(system.settings.registry_url)
    before = await _records(system)
    new = NewJob(new_id(), *BINDING, (stored,), JobOptions(**options), 0)
    cpu, began = cpu_seconds(pid), time.monotonic()
    await jobs.add(new)
    job = await _ended(jobs, new.uuid)
    wall, cpu = time.monotonic() - began, cpu_seconds(pid) - cpu
    memory = _largest_memory(pid)
    await jobs.aclose()
    await system.end("jobs")
    assert job.progress.accepted == rows == await _records(system) - before, job
    return Figures(name, rows, wall, cpu, memory)


async def _uploaded(system: System, path: Path) -> str:
    uploads = open_uploads(system.settings)
    upload, stored = uploads.begin(BINDING, path.name)

    async def part(number: int) -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            file.seek((number - 1) * PART)
            yield file.read(PART)

    parts = [await uploads.put_part(BINDING, upload, n, part(n)) for n in _numbers(path)]
    return uploads.complete(BINDING, upload, stored, [(one.number, one.etag) for one in parts])


def _numbers(path: Path) -> range:
    """Of the parts that the file has."""
    return range(1, -(-path.stat().st_size // PART) + 1)


async def _ended(jobs: SqlJobs, uuid: str) -> Job:
    while True:
        job = await jobs.job(uuid)
        if job is not None and job.status in ENDED:
            return job
        await asyncio.sleep(0.05)


async def _records(system: System) -> int:
    async with Admin(kafka_config(system.settings)) as admin:
        return sum((await admin.ends(system.topics.events)).values())


def _largest_memory(pid: int) -> float:
    """In MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the kernel doesn't say how much memory the role had")


async def run(rows: int, cases: int) -> list[Figures]:
    found = []
    async with laid() as system:
        for name, file, write, options in CASES[:cases]:
            path = system.folder / file
            if not path.exists():
                await asyncio.to_thread(write, path, rows)
            found.append(await measure(system, name, path, rows, options))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each file (1000000)")
    parser.add_argument("--cases", type=int, default=len(CASES), help="so many of them (all)")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    given = parser.parse_args()
    table = Table(*HEADERS)
    lines = [HEADERS, ("---",) * len(HEADERS)]
    for one in asyncio.run(run(given.rows // BLOCK * BLOCK, given.cases)):
        table.add_row(*one.cells)
        lines.append(one.cells)
    Console().print(table)
    if given.write:
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        write_between_markers(DOCUMENT, "batch", text)


if __name__ == "__main__":
    main()
