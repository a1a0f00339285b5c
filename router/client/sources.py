"""A batch as a stream of bytes, read when they are sent: no more than two parts are held.

Files travel as they are; rows as JSON Lines, compressed.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from event_router.client.bodies import BatchPublishType
from event_router.client.errors import BadArgument
from event_router.client.frames import count_of, slices_of
from event_router.client.values import encode_lines

PART = 8 << 20
"""Bytes of one request. S3's parts, by which the upload is modelled, are at least 5 MiB."""

_PICKLE = (".pkl", ".pickle")
_GZIP = 31  # zlib's word for a gzip header
_FAST = 1  # twice the speed of the default for a tenth more bytes


def _nothing() -> None:
    """A source that holds nothing open."""


@dataclass
class Source:
    """What a batch is read from. `done` of `total` (if that is known) counts in `unit`s and grows
    as chunks are taken. `close` may be called at any time; it lets go of what is held open, by
    `release`, too."""

    name: str
    unit: Literal["bytes", "rows"]
    total: int | None
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    done: int = 0
    release: Callable[[], None] = _nothing

    def parts(self, size: int = PART) -> Iterator[bytes]:
        """All of it, in pieces of `size`; the last one may be smaller."""
        gathered: list[memoryview] = []
        missing = size
        for chunk in self.chunks:
            left = memoryview(chunk)
            while len(left) >= missing:
                yield b"".join([*gathered, left[:missing]])
                left, missing = left[missing:], size
                gathered.clear()
            if left:
                gathered.append(left)
                missing -= len(left)
        if gathered:
            yield b"".join(gathered)

    def close(self) -> None:
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()
        self.release()


def open_source(
    data: Any, kind: BatchPublishType | None, credentials: Mapping[str, str] | None
) -> Source:
    """Raises BadArgument for what can't be published, and Unavailable for a bucket that can't be
    reached. Nothing but its beginning is read."""
    match told(data, kind):
        case BatchPublishType.LOCAL_DISK:
            return _file(Path(data))
        case BatchPublishType.DATAFRAME:
            return _rows(data)
        case bucket:
            from event_router.client.buckets import object_source

            return object_source(str(data), bucket, credentials or {})


_SCHEMES = {"s3": BatchPublishType.AWS_S3, "gs": BatchPublishType.GCP_STORAGE}


def told(data: Any, kind: BatchPublishType | None) -> BatchPublishType:
    """Where the batch comes from; raises BadArgument when `kind` says otherwise."""
    if data is None:
        raise BadArgument("events_path", None, "a file, a URL, a frame or rows: it is required")
    if isinstance(data, str | Path):
        scheme, separator, _ = str(data).partition("://")
        found = _SCHEMES.get(scheme) if separator else BatchPublishType.LOCAL_DISK
    else:
        found = BatchPublishType.DATAFRAME
    if found is None:
        raise BadArgument("events_path", data, "a path, or a URL that begins with s3:// or gs://")
    if kind is not None and kind is not found:
        raise BadArgument("data_source", kind.name, f"{found.name}, which the batch is")
    return found


def _file(path: Path) -> Source:
    if not path.is_file():
        raise BadArgument("events_path", str(path), "a file that is there")
    with path.open("rb") as file:
        refuse_pickle(str(path), file.read(2))
    source = Source(path.name, "bytes", path.stat().st_size)
    source.chunks = _read(path, source)
    return source


def refuse_pickle(name: str, beginning: bytes) -> None:
    """Loading one runs the code that it holds."""
    if name.endswith(_PICKLE) or (beginning[:1] == b"\x80" and beginning[1:2] <= b"\x05"):
        raise BadArgument("events_path", name, "CSV, Parquet or JSON Lines (a pickle isn't read)")


def _read(path: Path, source: Source) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(PART):
            source.done += len(chunk)
            yield chunk


def _rows(data: Any) -> Source:
    total = count_of(data)
    if total == 0:
        raise empty()
    source = Source("rows.jsonl.gz", "rows", total)
    source.chunks = _compressed(slices_of(data), source)
    return source


def empty() -> BadArgument:
    return BadArgument("events_path", "an empty batch", "a batch with at least one row")


def _compressed(slices: Iterator[list[dict[str, Any]]], source: Source) -> Iterator[bytes]:
    """Nothing at all when there are no rows."""
    press = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP)
    for rows in slices:
        chunk = press.compress(encode_lines(rows, source.done + 1))
        source.done += len(rows)
        if chunk:
            yield chunk
    if source.done:
        yield press.flush()
