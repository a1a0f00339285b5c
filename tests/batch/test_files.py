import csv
import datetime as dt
import decimal
import gzip
import io
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from event_router.router.batch.files import examine, reader
from event_router.router.batch.rows import AnyRow, BadRow, Row, Unreadable
from event_router.schemas.errors import InvalidValue

LIMIT = 2_000


def read(
    path: Path, start: int = 0, texts: tuple[str, ...] = (), file_type: str | None = None
) -> list[AnyRow]:
    known = examine(path, path.name, file_type, LIMIT, lambda: None)
    found = reader(path, path.name, LIMIT, known, texts)
    rows = [row for chunk in found.chunks(start) for row in chunk]
    assert len(rows) == known.rows - start
    return rows


def values(rows: list[AnyRow]) -> list[dict[str, Any]]:
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.values for row in rows if isinstance(row, Row)]


def reasons(rows: list[AnyRow]) -> dict[int, str]:
    return {number: row.reason for number, row in enumerate(rows, 1) if isinstance(row, BadRow)}


def a_file(folder: Path, content: bytes | str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_each_column_of_csv_has_the_narrowest_type_of_all_its_cells(tmp_path: Path) -> None:
    text = "n,f,b,zip,mixed,empty\n1,1.5,true,007,1,\n-2,2,FALSE,12,x,\n,,,,,\n"
    first, second, third = values(read(a_file(tmp_path, text)))
    assert first == {"n": 1, "f": 1.5, "b": True, "zip": "007", "mixed": "1", "empty": None}
    assert second["f"] == 2.0
    assert isinstance(second["f"], float)
    assert (second["b"], second["zip"]) == (False, "12")
    assert set(third.values()) == {None}


def test_whole_numbers_of_csv_keep_all_their_digits(tmp_path: Path) -> None:
    numbers = [1234567890123456789, 1234567890123456790, -(10**40)]
    rows = values(read(a_file(tmp_path, "\n".join(["id", *map(str, numbers)]))))
    assert [row["id"] for row in rows] == numbers


def test_a_column_of_csv_that_is_to_be_text_is_text(tmp_path: Path) -> None:
    [row] = values(read(a_file(tmp_path, "n,code\n1,2\n"), texts=("code",)))
    assert row == {"n": 1, "code": "2"}


def test_cells_of_csv_may_hold_commas_quotes_and_lines(tmp_path: Path) -> None:
    out = io.StringIO()
    awkward = 'a "quoted", thing\r\nover\nlines'
    csv.writer(out).writerows([["id", "text"], ["1", awkward], ["2", "é"]])
    rows = values(read(a_file(tmp_path, out.getvalue())))
    assert rows == [{"id": 1, "text": awkward}, {"id": 2, "text": "é"}]


def test_bad_rows_of_csv_are_told_apart_from_good_ones(tmp_path: Path) -> None:
    content = b'a,b\n1,2\n1\n1,2,3\n\xff\xfe,2\n"' + b"x" * 3 * LIMIT + b'",1\n5,6\n'
    rows = read(a_file(tmp_path, content))
    assert reasons(rows) == {
        2: "1 cells, and the header names 2 columns",
        3: "3 cells, and the header names 2 columns",
        4: "not UTF-8",
        5: f"the row is larger than {LIMIT} bytes",
    }
    assert isinstance(rows[-1], Row)


def test_json_lines_are_kept_byte_for_byte(tmp_path: Path) -> None:
    lines = ['{"b": 12345678901234567890123, "a":1.10}', "", '  {"é": null}  ']
    first, second = read(a_file(tmp_path, "\n".join(lines), "rows.jsonl"))
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.raw == lines[0].encode()
    assert second == Row({"é": None}, '{"é": null}'.encode())


def test_bad_json_lines_are_told_apart_from_good_ones(tmp_path: Path) -> None:
    lines = ['{"a":1}', '{"a":', "[1]", '{"a":"\xff"}', '{"a":"' + "x" * LIMIT + '"}', '{"a":2}']
    rows = read(a_file(tmp_path, "\n".join(lines).encode("latin-1"), "rows.jsonl"))
    assert set(reasons(rows)) == {2, 3, 4, 5}
    assert reasons(rows)[3] == "not a JSON object"
    assert reasons(rows)[5] == f"the row is larger than {LIMIT} bytes"


def test_text_may_be_gzipped_in_several_members(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n')
    assert values(read(a_file(tmp_path, packed, "rows.jsonl.gz"))) == [{"a": 1}, {"a": 2}]
    packed = gzip.compress(b"a\n3\n")
    assert values(read(a_file(tmp_path, packed, "rows.csv.gz"))) == [{"a": 3}]


def test_broken_gzip_is_found_before_a_row_is_handed_out(tmp_path: Path) -> None:
    lines = "".join(f'{{"a":{number * 7919}}}\n' for number in range(9_000)).encode()
    with pytest.raises(Unreadable, match="broken gzip"):
        read(a_file(tmp_path, gzip.compress(lines)[:-100], "rows.jsonl.gz"))


def test_a_line_without_an_end_is_not_read_into_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(b"[" * 50_000_000)
    rows = read(a_file(tmp_path, gzip.compress(b'{"a":1}\n') + bomb, "rows.jsonl.gz"))
    assert reasons(rows) == {2: f"the row is larger than {LIMIT} bytes"}


def parquet_file(folder: Path, table: pa.Table, **more: Any) -> Path:
    path = folder / "rows.parquet"
    parquet.write_table(table, path, **more)
    return path


def test_parquet_columns_of_every_kind_are_read(tmp_path: Path) -> None:
    moment = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    table = pa.table(
        {
            "int": [1, None],
            "float": [1.5, float("nan")],
            "text": ["a", "é"],
            "flag": [True, None],
            "time": pa.array([moment, None], pa.timestamp("ns", "UTC")),
            "category": pa.array(["x", "y"]).dictionary_encode(),
            "vector": [[1.0, 2.0], []],
            "nested": [{"a": {"b": 1}}, None],
            "money": [decimal.Decimal("1.10"), None],
            "nothing": pa.nulls(2),
        }
    )
    first, second = values(read(parquet_file(tmp_path, table)))
    assert first["time"] == moment
    assert (first["category"], first["vector"], first["nested"]) == (
        "x",
        [1.0, 2.0],
        {"a": {"b": 1}},
    )
    assert first["money"] == decimal.Decimal("1.10")
    assert (second["int"], second["nested"], second["nothing"]) == (None, None, None)


def test_a_value_that_python_has_not_makes_one_row_a_bad_one(tmp_path: Path) -> None:
    far = pa.array([0, 10**15, 1], pa.timestamp("ms"))
    rows = read(parquet_file(tmp_path, pa.table({"time": far})))
    assert list(reasons(rows)) == [2]
    assert reasons(rows)[2].startswith("time: ")


@pytest.mark.parametrize("start", [0, 1, 999, 1_000, 2_499, 2_500, 2_501, 4_999, 5_000])
@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_reading_begins_at_any_row(tmp_path: Path, start: int, kind: str) -> None:
    numbers = list(range(5_000))
    if kind == "parquet":
        path = parquet_file(tmp_path, pa.table({"a": numbers}), row_group_size=2_500)
    elif kind == "csv":
        path = a_file(tmp_path, "a\n" + "\n".join(map(str, numbers)))
    else:
        path = a_file(tmp_path, "\n".join(f'{{"a":{n}}}' for n in numbers), "rows.jsonl")
    assert [row["a"] for row in values(read(path, start))] == numbers[start:]


def test_a_truncated_parquet_file_is_unreadable(tmp_path: Path) -> None:
    path = parquet_file(tmp_path, pa.table({"a": list(range(9_000))}))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(Unreadable, match="not readable as Parquet"):
        read(path)
    path.write_bytes(whole[:200] + bytes(len(whole) - 400) + whole[-200:])
    with pytest.raises(Unreadable, match="not readable as Parquet"):
        read(path)


def test_the_content_says_what_a_file_is_before_its_name_does(tmp_path: Path) -> None:
    table = parquet_file(tmp_path, pa.table({"a": [1]}))
    assert values(read(a_file(tmp_path, table.read_bytes(), "rows.csv"), file_type=".csv"))
    assert values(read(a_file(tmp_path, '{"a":1}\n', "rows.csv"))) == [{"a": 1}]
    assert values(read(a_file(tmp_path, "a\n1\n", "rows"))) == [{"a": 1}]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("rows.pkl", pickle.dumps({"a": 1}), "a pickle runs code"),
        ("rows.csv", pickle.dumps({"a": 1}), "a pickle runs code"),
        ("rows.pickle", b"cos\nsystem\n", "a pickle runs code"),
        ("rows.csv.gz", gzip.compress(pickle.dumps([1])), "a pickle runs code"),
        ("rows.xlsx", b"PK\x03\x04aaaa", "a zip archive"),
        ("rows.parquet", b"a,b\n1,2\n", "a Parquet file, though its name says so"),
        ("rows.csv", b"", "empty"),
        ("rows.csv", b"a,b\n\x00\x01", "text"),
    ],
)
def test_what_is_not_taken_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    with pytest.raises(InvalidValue, match=why):
        read(a_file(tmp_path, content, name))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("rows.csv", "a,a\n1,2\n", "'a' is there twice"),
        ("rows.csv", "a,\n1,2\n", "some empty"),
        ("rows.jsonl", '[{"a":1}]', "one object per line"),
    ],
)
def test_what_makes_a_whole_file_unreadable_is_told(
    tmp_path: Path, name: str, content: str, why: str
) -> None:
    with pytest.raises(Unreadable, match=why):
        read(a_file(tmp_path, content, name))
