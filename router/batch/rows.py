"""Rows of a file, a chunk at a time. Everything here blocks: call it in a thread.

A file is read twice: once to the end before anything is published, so that whatever makes it
unreadable is found in time, and once to publish. Both hold no more of it than a chunk.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from event_router.router.batch.formats import HEAD, Format, format_of, is_gzip
from event_router.router.store.job_ports import Examined
from event_router.schemas.errors import EventRouterError

CHUNK_ROWS = 1_000
CHUNK_BYTES = 1 << 20


class Unreadable(EventRouterError):
    """The file as a whole can't be read; the message says why."""


class Row(NamedTuple):
    """A row: its fields, and the JSON they were read from, if they were."""

    values: dict[str, Any]
    raw: bytes | None = None


class BadRow(NamedTuple):
    """A row that can't be read; the others can."""

    reason: str


AnyRow = Row | BadRow
Chunk = list[AnyRow]
Tick = Callable[[], None]


class RowFile(Protocol):
    """A file of one kind."""

    def examine(self, tick: Tick) -> Examined:
        """What is in it, once all of it was read; `tick` is called now and then, and may raise.
        Raises Unreadable."""
        ...

    def chunks(self, start: int) -> Iterator[Chunk]:
        """Its rows from `start` (from 0) on. Raises Unreadable."""
        ...


def sniff(path: Path, name: str, file_type: str | None) -> Format:
    """What the file is. Raises InvalidValue, and Unreadable for gzip that is none."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not is_gzip(head):
        return format_of(head, name, file_type)
    with opened(path, gzipped=True) as unpacked, readable(name):
        return format_of(unpacked.read(HEAD), name, file_type)._replace(gzipped=True)


@contextmanager
def opened(path: Path, *, gzipped: bool) -> Iterator[BinaryIO]:
    if gzipped:
        with gzip.open(path) as file:
            yield cast("BinaryIO", file)
    else:
        with path.open("rb") as plain:
            yield plain


@contextmanager
def readable(name: str) -> Iterator[None]:
    """What goes wrong in the block is said of the file."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable(f"{name}: broken gzip ({error})") from error
    except OSError as error:
        raise Unreadable(f"{name}: {error.strerror or error}") from error


def lines(file: BinaryIO, limit: int) -> Iterator[bytes | None]:
    """The file's lines, with their ends; None for one that is longer than `limit`."""
    while line := file.readline(limit + 2):
        if line.endswith(b"\n") or len(line) <= limit:
            yield line
        else:
            while line and not line.endswith(b"\n"):
                line = file.readline(CHUNK_BYTES)
            yield None


def too_long(limit: int) -> str:
    return f"the row is larger than {limit} bytes"
