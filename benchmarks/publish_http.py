"""Publishing over HTTP: one API process, keep-alive connections, Kafka's acknowledgement awaited.

    python -m benchmarks.publish_http [--connections 64] [--seconds 10] [--write]

Needs `wrk`. The other roles are stopped, so that the API is what is measured; its CPU is what the
kernel counts.
"""

import argparse
import asyncio
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from rich.console import Console
from rich.table import Table

from benchmarks.bed import Bed, laid
from benchmarks.document import write_between_markers
from tests.system import API_KEY

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
SIZE = 500

# One request an event; with ids each has a new one, which costs a look and a claim in Redis.
SCRIPT = """
local thread = 0
function setup(t) t:set("id", thread) thread = thread + 1 end
local n = 0
function request()
  n = n + 1
  local own = WITH_IDS and ('"id":"w' .. id .. "-" .. n .. "-" .. STAMP .. '",') or ""
  local body = '{' .. own .. '"tenant_id":"bench","topic":"order.created","data":DATA}'
  return wrk.format("POST", "/api/v1/publish", HEADERS, body)
end
HEADERS = {["authorization"] = "Bearer KEY", ["content-type"] = "application/json"}
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """CPU in seconds of the API process for 1,000 requests; latency in ms, as wrk says it."""

    name: str
    rate: float
    cpu: float
    p50: str
    p99: str
    failed: int


async def measure(bed: Bed, connections: int, seconds: int, *, ids: bool) -> Figures:
    data = '{"pad":"' + "x" * (SIZE - 10) + '"}'
    script = SCRIPT.replace("DATA", data).replace("KEY", API_KEY)
    script = script.replace("WITH_IDS", str(ids).lower()).replace("STAMP", str(seconds))
    with NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        before = bed.cpu()["api"]
        wrk = await asyncio.create_subprocess_exec(
            "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", file.name,
            bed.system.api, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said = (await wrk.communicate())[0].decode()
        cpu = bed.cpu()["api"] - before
    requests = int(_found(r"(\d+) requests in", said))
    return Figures(
        "with clients' ids" if ids else "without ids",
        float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        cpu / requests * 1000,
        _found(r"50%\s+(\S+)", said),
        _found(r"99%\s+(\S+)", said),
        int(_found(r"Non-2xx or 3xx responses: (\d+)", said, "0")),
    )


def _found(pattern: str, text: str, default: str = "") -> str:
    found = re.search(pattern, text)
    return found[1] if found else default


async def run(connections: int, seconds: int) -> list[Figures]:
    async with laid("real", "sqlite") as bed:
        await bed.make_destinations(1, 9)
        for role in ("stream", "deliver", "log"):
            bed.system.kill(role)
        await measure(bed, connections, 2, ids=False)
        return [await measure(bed, connections, seconds, ids=ids) for ids in (False, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--connections", type=int, default=64, help="kept alive (64)")
    parser.add_argument("--seconds", type=int, default=10, help="of each run (10)")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk isn't here: apt-get install wrk")
    headers = ("publish", "requests/s", "CPU-s per 1,000", "p50", "p99", "refused")
    rows = [
        (one.name, f"{one.rate:,.0f}", f"{one.cpu:.3f}", one.p50, one.p99, str(one.failed))
        for one in asyncio.run(run(given.connections, given.seconds))
    ]
    table = Table(*headers, title=f"{given.connections} connections, {SIZE} B")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if given.write:
        lines = [headers, ("---",) * len(headers), *rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        write_between_markers(DOCUMENT, "publish", text)


if __name__ == "__main__":
    main()
