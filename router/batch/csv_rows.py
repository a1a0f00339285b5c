"""CSV with a header line. An empty cell is null.

CSV has no types: a column is of the narrowest one that all of its cells have, whole numbers,
numbers, truth values, else text. `007` and `+1` are text: as numbers they would lose something.
"""

import csv
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

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

MOST_COLUMNS = 10_000
_TOO_LONG = "\udcff\udcff"  # no line that was decoded holds it
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,999})").fullmatch
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?").fullmatch
_BOOLEANS = {"true": True, "false": False, "True": True, "False": False}
_BOOLEANS |= {"TRUE": True, "FALSE": False}


class CsvRows:
    """`limit` is the most bytes of a row; columns in `texts` are left as text."""

    def __init__(
        self,
        path: Path,
        name: str,
        limit: int,
        *,
        gzipped: bool,
        types: Sequence[str] = (),
        texts: Collection[str] = (),
    ) -> None:
        self._path = path
        self._name = name
        self._limit = limit
        self._gzipped = gzipped
        self._types = types
        self._texts = texts

    def examine(self, tick: Tick) -> Examined:
        rows = 0
        cells = self._cells()
        columns = self._header(cells)
        types: list[set[str]] = [{"bool", "int", "float"} for _ in columns]
        for row in cells:
            rows += 1
            if rows % CHUNK_ROWS == 0:
                tick()
            if isinstance(row, list) and len(row) == len(columns):
                for cell, possible in zip(row, types, strict=True):
                    if possible and cell:
                        _narrow(cell, possible)
        return Examined("csv", self._gzipped, rows, columns, tuple(map(_narrowest, types)))

    def chunks(self, start: int) -> Iterator[Chunk]:
        cells = self._cells()
        columns = self._header(cells)
        convert = [
            _READ["str" if name in self._texts else kind]
            for name, kind in zip(columns, self._types, strict=True)
        ]
        chunk: Chunk = []
        size = 0
        for number, row in enumerate(cells):
            if number < start:
                continue
            chunk.append(_row(row, columns, convert))
            size += 0 if isinstance(row, BadRow) else sum(map(len, row))
            if len(chunk) == CHUNK_ROWS or size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _header(self, cells: "Iterator[list[str] | BadRow]") -> tuple[str, ...]:
        header = next(cells, None)
        if header is None:
            raise Unreadable(f"{self._name}: it is empty")
        if isinstance(header, BadRow):
            raise Unreadable(f"{self._name}: its header can't be read: {header.reason}")
        names = tuple(name.strip() for name in header)
        twice = [name for name in names if names.count(name) > 1] if len(names) < 2000 else []
        if "" in names or twice or len(names) > MOST_COLUMNS:
            wrong = f"{twice[0]!r} is there twice" if twice else f"{len(names)} names, some empty"
            raise Unreadable(f"{self._name}: the first line must name the columns: {wrong}")
        return names

    def _cells(self) -> "Iterator[list[str] | BadRow]":
        """The header's, then each row's."""
        with readable(self._name), opened(self._path, gzipped=self._gzipped) as file:
            reader = csv.reader(_text(file, self._limit))
            while True:
                # The limit is the module's own, for all of the process.
                csv.field_size_limit(self._limit)
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield BadRow(f"not CSV: {error}")
                    continue
                if row:
                    yield self._checked(row)

    def _checked(self, row: list[str]) -> "list[str] | BadRow":
        if sum(map(len, row)) > self._limit or any(_TOO_LONG in cell for cell in row):
            return BadRow(too_long(self._limit))
        try:
            "".join(row).encode()
        except UnicodeEncodeError:
            return BadRow("not UTF-8")
        return row


def _text(file: BinaryIO, limit: int) -> Iterator[str]:
    for number, line in enumerate(lines(file, limit)):
        if line is None:
            yield _TOO_LONG
        else:
            encoding = "utf-8-sig" if number == 0 else "utf-8"
            yield line.decode(encoding, "surrogateescape")


def _row(
    row: list[str] | BadRow, columns: Sequence[str], convert: Sequence[Callable[[str], Any]]
) -> AnyRow:
    if isinstance(row, BadRow):
        return row
    if len(row) != len(columns):
        return BadRow(f"{len(row)} cells, and the header names {len(columns)} columns")
    cells = zip(columns, convert, row, strict=True)
    return Row({name: read(cell) if cell else None for name, read, cell in cells})


def _narrow(cell: str, possible: set[str]) -> None:
    """Takes out what the cell isn't."""
    if "int" in possible and _WHOLE(cell) is None:
        possible.discard("int")
    if "float" in possible and _NUMBER(cell) is None:
        possible.discard("float")
    if "bool" in possible and cell not in _BOOLEANS:
        possible.discard("bool")


def _narrowest(possible: set[str]) -> str:
    if len(possible) == 3:  # no cell at all
        return "str"
    return next((kind for kind in ("bool", "int", "float") if kind in possible), "str")


_READ: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": _BOOLEANS.__getitem__,
    "str": str,
}
