"""Parquet, through pyarrow: imported when the first such file comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from event_router.router.batch.rows import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    BadRow,
    Chunk,
    Row,
    Tick,
    Unreadable,
)
from event_router.router.store.job_ports import Examined

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

_BUFFER = 1 << 18


class ParquetRows:
    """A row group is never in memory as a whole: its columns are read through buffers."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name

    def examine(self, tick: Tick) -> Examined:
        with self._opened() as file:
            names = tuple(file.schema_arrow.names)
            twice = {name for name in names if names.count(name) > 1}
            if twice or not names:
                wrong = f"the column {min(twice)!r} is there twice" if twice else "it has no column"
                raise Unreadable(f"{self._name}: {wrong}")
            for _ in self._batches(file, list(range(file.num_row_groups))):
                tick()
            return Examined("parquet", False, file.metadata.num_rows, names)

    def chunks(self, start: int) -> Iterator[Chunk]:
        with self._opened() as file:
            groups, skip = _groups_from(file, start)
            for batch in self._batches(file, groups):
                if skip < batch.num_rows:
                    yield _rows(batch.slice(skip))
                skip = max(0, skip - batch.num_rows)

    def _batches(
        self, file: "parquet.ParquetFile", groups: list[int]
    ) -> "Iterator[pa.RecordBatch]":
        size = _batch_rows(file)
        yield from file.iter_batches(size, row_groups=groups, use_threads=False)

    @contextmanager
    def _opened(self) -> "Iterator[parquet.ParquetFile]":
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            raise Unreadable(
                f"{self._name}: Parquet needs pyarrow: pip install 'event-router[batch]'"
            ) from error
        try:
            with parquet.ParquetFile(self._path, buffer_size=_BUFFER, pre_buffer=False) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise Unreadable(f"{self._name}: not readable as Parquet: {error}") from error


def _batch_rows(file: "parquet.ParquetFile") -> int:
    """As many as a chunk has, fewer where rows are large."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    each: int = size // max(1, file.metadata.num_rows)
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // max(1, each)))


def _groups_from(file: "parquet.ParquetFile", start: int) -> tuple[list[int], int]:
    """The row groups with the rows from `start` on, and how many rows of them to skip."""
    skip = start
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        if skip < rows:
            return list(range(number, file.num_row_groups)), skip
        skip -= rows
    return [], 0


def _rows(batch: "pa.RecordBatch") -> Chunk:
    names = batch.schema.names
    columns = [_values(column) for column in batch.columns]
    if any(isinstance(column, _Mixed) for column in columns):
        return [_bad_or_good(names, values) for values in zip(*columns, strict=True)]
    return [Row(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


class _Mixed(list[Any]):
    """Values of a column, some of which are BadRow."""


def _values(column: "pa.Array[Any]") -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):
        return _Mixed(map(_value, column))


def _value(scalar: "pa.Scalar[Any]") -> Any:
    """What Python has no value for, such as a date in the year 20000, makes its row a bad one."""
    import pyarrow as pa

    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return BadRow(str(error))


def _bad_or_good(names: list[str], values: tuple[Any, ...]) -> Row | BadRow:
    for name, value in zip(names, values, strict=True):
        if isinstance(value, BadRow):
            return BadRow(f"{name}: {value.reason}")
    return Row(dict(zip(names, values, strict=True)))
