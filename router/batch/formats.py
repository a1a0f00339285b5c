"""Telling what a file is: by its content, then by its name. Pure.

Pickle is refused: to read one is to run code. What is no format at all is refused, too.
"""

from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import msgspec

from event_router.schemas.errors import InvalidValue

Kind = Literal["parquet", "csv", "json"]

HEAD = 4096
TAKEN = "CSV, Parquet or JSON Lines, the text ones gzipped if you like"

_PARQUET, _GZIP, _PICKLE = b"PAR1", b"\x1f\x8b", b"\x80"
_BOM = b"\xef\xbb\xbf"
_OTHERS = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet)",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"ARROW1": "an Arrow file",
    b"FEA1": "a Feather file",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"\x89HDF": "HDF5",
}
_SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}
_PICKLES = {".pkl", ".pickle", ".p"}


class Format(NamedTuple):
    kind: Kind
    gzipped: bool = False


def is_gzip(head: bytes) -> bool:
    return head.startswith(_GZIP)


def format_of(head: bytes, name: str, file_type: str | None = None) -> Format:
    """What a file is whose first bytes (uncompressed, if it is gzipped) are `head`.

    `file_type` is what its owner says it is, such as `.csv`; the content counts for more. Raises
    InvalidValue, naming the file and what is taken.
    """
    said = _suffix(name) if file_type is None else file_type
    if head.startswith(_PARQUET):
        return Format("parquet")
    if head.startswith(_PICKLE) or said in _PICKLES:
        raise InvalidValue("file_name", name, f"taken: a pickle runs code. Send {TAKEN}")
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise InvalidValue("file_name", name, f"taken: it is {what}. Send {TAKEN}")
    if not head.strip():
        raise InvalidValue("file_name", name, "a batch: it is empty")
    if b"\x00" in head:
        raise InvalidValue("file_name", name, f"text. Send {TAKEN}")
    kind = _text_kind(head, said)
    if kind == "parquet":
        raise InvalidValue("file_name", name, "a Parquet file, though its name says so")
    return Format(kind)


def _text_kind(head: bytes, said: str) -> Kind:
    """JSON when the first line is an object; else what the name says, and CSV when it says
    nothing."""
    text = head.removeprefix(_BOM).lstrip()
    if text.startswith(b"{") and (_is_object(text.partition(b"\n")[0]) or said != ".csv"):
        return "json"
    return _SUFFIXES.get(said, "csv")


def _is_object(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _suffix(name: str) -> str:
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix == ".gz" else path.suffix
