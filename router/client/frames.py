"""The rows of whatever has rows: frames of pandas and polars, Arrow tables, iterables of dicts.

Nothing is imported for it: a frame is asked in its own words, so many rows at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from event_router.client.derivation import Derivation
from event_router.client.errors import BadArgument
from event_router.schemas.columns import EventSchema

Rows = list[dict[str, Any]]

SLICE = 5000

_EXPECTED = "a frame of pandas or polars, an Arrow table, or an iterable of dicts"


def slices_of(data: Any, field: str = "events_path") -> Iterator[Rows]:
    """The rows, in order, SLICE at a time; raises BadArgument for what has none."""
    slices = _SLICES.get(_kind(data))
    if slices is not None:
        return slices(data)
    if hasattr(data, "__arrow_c_stream__"):
        return _of_stream(data)
    if isinstance(data, Mapping | str | bytes) or not isinstance(data, Iterable):
        raise BadArgument(field, data, _EXPECTED)
    return _of_iterable(data)


def count_of(data: Any) -> int | None:
    """How many rows there are, where that is known beforehand."""
    try:
        return len(data)
    except TypeError:
        return None


def schema_from(frame: Any, categories: int = 100) -> EventSchema:
    """The schema that all rows of the frame keep: types, which columns are never null, the range
    of numbers, and the values of text columns that have at most `categories` of them.

    Raises BadArgument for a column without a value, or with values of several types. An iterator
    is used up.
    """
    derivation = Derivation(categories)
    for rows in slices_of(frame, "frame"):
        derivation.see(rows)
    return derivation.schema()


def _kind(data: object) -> str:
    """The library and the class, which may be a base: `pandas.DataFrame`."""
    for cls in type(data).__mro__:
        name = f"{cls.__module__.partition('.')[0]}.{cls.__name__}"
        if name in _SLICES:
            return name
    return ""


def _of_pandas(frame: Any) -> Iterator[Rows]:
    names = _names(frame.columns)
    for start in range(0, len(frame), SLICE):
        part = frame.iloc[start : start + SLICE]
        columns = [part.iloc[:, nth].tolist() for nth in range(len(names))]
        yield [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _of_polars(frame: Any) -> Iterator[Rows]:
    for part in frame.iter_slices(SLICE):
        yield part.to_dicts()


def _of_table(table: Any) -> Iterator[Rows]:
    _names(table.schema.names)
    for part in table.to_batches(max_chunksize=SLICE):
        yield from _of_batch(part)


def _of_batch(part: Any) -> Iterator[Rows]:
    for start in range(0, part.num_rows, SLICE):
        yield part.slice(start, SLICE).to_pylist()


def _of_reader(reader: Any) -> Iterator[Rows]:
    _names(reader.schema.names)
    for part in reader:
        yield from _of_batch(part)


def _of_stream(data: Any) -> Iterator[Rows]:
    """What speaks Arrow's C stream interface: DuckDB's relations, and more."""
    from pyarrow import RecordBatchReader

    return _of_reader(RecordBatchReader.from_stream(data))


def _of_iterable(rows: Iterable[Any]) -> Iterator[Rows]:
    left, first = iter(rows), 1
    while part := [_dict(row, nth) for nth, row in enumerate(islice(left, SLICE), first)]:
        yield part
        first += len(part)


def _dict(row: object, number: int) -> dict[str, Any]:
    if isinstance(row, dict):
        return row
    if isinstance(row, Mapping):
        return dict(row)
    raise BadArgument(f"row {number}", row, "a dict")


def _names(names: Iterable[Any]) -> list[str]:
    texts = [str(name) for name in names]
    for name in texts:
        if texts.count(name) > 1:
            raise BadArgument("events_path", name, "a column's name that is there once")
    return texts


_SLICES: dict[str, Callable[[Any], Iterator[Rows]]] = {
    "pandas.DataFrame": _of_pandas,
    "polars.DataFrame": _of_polars,
    "pyarrow.Table": _of_table,
    "pyarrow.RecordBatch": _of_batch,
    "pyarrow.RecordBatchReader": _of_reader,
}
