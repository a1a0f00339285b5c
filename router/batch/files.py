"""A file's reader, by what it is. Blocks."""

from collections.abc import Collection
from pathlib import Path

from event_router.router.batch.csv_rows import CsvRows
from event_router.router.batch.formats import Format
from event_router.router.batch.json_rows import JsonRows
from event_router.router.batch.parquet_rows import ParquetRows
from event_router.router.batch.rows import RowFile, Tick, sniff
from event_router.router.store.job_ports import Examined


def examine(path: Path, name: str, file_type: str | None, limit: int, tick: Tick) -> Examined:
    """What is in the file, all of which is read; `limit` is the most bytes of a row, `tick`
    is called now and then, and may raise. Raises InvalidValue for what isn't taken at all, and
    Unreadable."""
    return _file(path, name, limit, sniff(path, name, file_type)).examine(tick)


def reader(
    path: Path, name: str, limit: int, known: Examined, texts: Collection[str] = ()
) -> RowFile:
    """Reads what was examined before; columns in `texts` are text, whatever they look like."""
    if known.kind == "csv":
        return CsvRows(path, name, limit, gzipped=known.gzipped, types=known.types, texts=texts)
    return _file(path, name, limit, Format(known.kind, known.gzipped))


def _file(path: Path, name: str, limit: int, found: Format) -> RowFile:
    if found.kind == "parquet":
        return ParquetRows(path, name)
    kind = CsvRows if found.kind == "csv" else JsonRows
    return kind(path, name, limit, gzipped=found.gzipped)
