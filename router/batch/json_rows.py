"""JSON Lines: an object a line. Empty lines are no rows."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from event_router.router.batch.rows import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    AnyRow,
    BadRow,
    Chunk,
    Row,
    Tick,
    Unreadable,
    lines,
    opened,
    readable,
    too_long,
)
from event_router.router.store.job_ports import Examined

_BOM = b"\xef\xbb\xbf"
_decode = msgspec.json.Decoder().decode


class JsonRows:
    """`limit` is the most bytes of a line."""

    def __init__(self, path: Path, name: str, limit: int, *, gzipped: bool) -> None:
        self._path = path
        self._name = name
        self._limit = limit
        self._gzipped = gzipped

    def examine(self, tick: Tick) -> Examined:
        rows = 0
        for line in self._lines(0):
            rows += 1
            if rows % CHUNK_ROWS == 0:
                tick()
            if rows == 1 and line is not None and line.startswith(b"["):
                raise Unreadable(f"{self._name}: a JSON array; send one object per line instead")
        return Examined("json", self._gzipped, rows)

    def chunks(self, start: int) -> Iterator[Chunk]:
        chunk: Chunk = []
        size = 0
        for line in self._lines(start):
            chunk.append(self._row(line))
            size += len(line or b"")
            if len(chunk) == CHUNK_ROWS or size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _lines(self, start: int) -> Iterator[bytes | None]:
        """Those that are rows, from that one on; None is one too long."""
        row = 0
        with readable(self._name), opened(self._path, gzipped=self._gzipped) as file:
            for number, line in enumerate(lines(file, self._limit)):
                text = None if line is None else _stripped(line, first=number == 0)
                if text is None or text:
                    if row >= start:
                        yield text
                    row += 1

    def _row(self, line: bytes | None) -> AnyRow:
        if line is None:
            return BadRow(too_long(self._limit))
        try:
            line.decode()
            values = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return BadRow(f"not JSON: {error}")
        return Row(values, line) if isinstance(values, dict) else BadRow("not a JSON object")


def _stripped(line: bytes, *, first: bool) -> bytes:
    return (line.removeprefix(_BOM) if first else line).strip()
