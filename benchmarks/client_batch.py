"""The client's side of a batch: CPU per row and the most memory, each measurement in a process.

    python -m benchmarks.client_batch [--rows 1000000 --rows 5000000] [--write]

What is uploaded goes to a receiver that counts bytes; what the router does with it isn't measured.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.document import write_between_markers
from event_router.client import Client

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
KINDS = {
    "dicts": "a generator of dicts",
    "jsonl": "a file of JSON Lines",
    "arrow": "a reader of Arrow batches",
    "polars": "a frame of polars",
    "pandas": "a frame of pandas",
}
FLAT = ("dicts", "jsonl", "arrow")
"""What isn't in memory as a whole anyway."""


@dataclass(frozen=True, slots=True)
class Measured:
    kind: str
    rows: int
    cpu: float
    before: float
    peak: float

    def cells(self) -> list[str]:
        rate = f"{self.rows / self.cpu:,.0f}"
        return [KINDS[self.kind], f"{self.rows:,}", rate, f"{self.before:.0f}", f"{self.peak:.0f}"]


class _Receiver(BaseHTTPRequestHandler):
    """Takes every upload, and begins a job that nobody works on."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self._accept()

    def do_POST(self) -> None:
        self._accept()

    def log_message(self, *_: object) -> None:
        pass

    def _accept(self) -> None:
        left = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        info = {"ETag": "e", "PartNumber": 1}
        data = {"file_name": "f", "upload_id": "u", "info": info, "job_uuid": "j", "status": 202}
        answer = json.dumps({"data": data}).encode()
        self.send_response(202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def _rows(count: int) -> Iterator[dict[str, Any]]:
    """Rows of 200 bytes that don't compress to nothing."""
    for number in range(count):
        text = hashlib.blake2b(b"%d" % number, digest_size=40).hexdigest()
        yield {
            "id": f"id-{number}",
            "amount": number * 1.5,
            "country": "de",
            "paid": number % 2 == 0,
            "at": "2026-01-31T12:00:00Z",
            "text": text,
        }


def _source(kind: str, rows: int, folder: Path) -> Any:
    if kind == "dicts":
        return _rows(rows)
    path = folder / f"{rows}.{'jsonl' if kind == 'jsonl' else 'parquet'}"
    if kind == "jsonl":
        return path
    if kind == "pandas":
        import pandas as pd

        return pd.read_parquet(path)
    if kind == "polars":
        import polars as pl

        return pl.read_parquet(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, pre_buffer=False)
    return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(5000))


def _prepare(rows: int, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = _rows(rows)
    with (folder / f"{rows}.jsonl").open("w") as lines:
        writer = None
        while part := [row for _, row in zip(range(50_000), source, strict=False)]:
            lines.writelines(json.dumps(row) + "\n" for row in part)
            table = pa.Table.from_pylist(part)
            writer = writer or pq.ParquetWriter(folder / f"{rows}.parquet", table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()


def _peak() -> float:
    """MiB that this process had at most; `ru_maxrss` would count what its parent had."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in one)
    return int(line.split()[1]) / 1024


def _measure(kind: str, rows: int, folder: Path, url: str) -> None:
    """In a process of its own: prints CPU seconds, and MiB before and at most."""
    source = _source(kind, rows, folder)
    before, began = _peak(), time.process_time()
    with Client(url, "key") as client:
        client.publish_events_batch("acme", "orders", source, progress=False)
    sys.stdout.write(json.dumps([time.process_time() - began, before, _peak()]))


def _measured(kind: str, rows: int, folder: Path, url: str) -> Measured:
    words = [kind, str(rows), str(folder), url]
    command = [sys.executable, "-m", "benchmarks.client_batch", "--one", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Measured(kind, rows, *json.loads(done.stdout))


def _all(counts: list[int]) -> list[Measured]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    found = []
    with TemporaryDirectory() as made:
        folder = Path(made)
        for rows in counts:
            _prepare(rows, folder)
            kinds = KINDS if rows == min(counts) else FLAT
            found += [_measured(kind, rows, folder, url) for kind in kinds]
    server.shutdown()
    return found


def _table(found: list[Measured]) -> str:
    head = ["source", "rows", "rows per CPU-s", "MiB before", "MiB at most"]
    lines = [head, ["---"] * len(head), *(one.cells() for one in found)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", nargs=4)
    asked = parser.parse_args()
    if asked.one:
        kind, rows, folder, url = asked.one
        _measure(kind, int(rows), Path(folder), url)
        return
    table = _table(_all(asked.rows or [1_000_000, 5_000_000]))
    print(table)
    if asked.write:
        write_between_markers(DOCUMENT, "client", table)


if __name__ == "__main__":
    main()
