"""Payloads as JSON: what people have in frames and dicts, encoded the way they would write it.

numpy's and pandas' scalars are what they hold, Decimals are numbers with every digit, dates and
times are ISO 8601, NaN, infinity, NaT and NA are null, bytes are base64.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from event_router.client.errors import BadArgument

_NULLS = frozenset({"NaTType", "NAType"})


def encode(value: object, field: str = "data") -> bytes:
    """The value as JSON; raises BadArgument for what has no place there."""
    try:
        encoded = _encoder.encode(value)
        return _encoder.encode(_finite(value)) if _may_be_infinite(encoded) else encoded
    except (TypeError, ValueError, RecursionError) as error:
        raise BadArgument(field, value, f"JSON: {error}") from error


def encode_lines(rows: Sequence[Mapping[str, Any]], first: int) -> bytes:
    """The rows as JSON Lines. Raises BadArgument with the row's number; `first` is the first's."""
    try:
        lines = _encoder.encode_lines(rows)
    except (TypeError, ValueError, RecursionError):
        return b"".join(encode(row, f"row {n}") + b"\n" for n, row in enumerate(rows, first))
    return _encoder.encode_lines(_finite(rows)) if _may_be_infinite(lines) else lines


def plain(value: Any) -> Any:
    """A value of a foreign type as one that JSON has; raises TypeError for one that has none."""
    kind = type(value).__name__
    if kind in _NULLS:
        return None
    if kind in ("datetime64", "timedelta64"):
        return value.astype(f"{kind}[us]").item()
    if kind == "Timedelta":
        return value.to_pytimedelta()
    for name in ("isoformat", "tolist", "as_py", "to_list"):
        convert = getattr(value, name, None)
        if callable(convert):
            return _converted(value, convert())
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is no JSON value")


def _converted(value: object, done: Any) -> Any:
    if type(done) is type(value):
        raise TypeError(f"{type(value).__qualname__} is no JSON value")
    return done


def _may_be_infinite(encoded: bytes) -> bool:
    """A Decimal is encoded as it is written, and not all that can be written is JSON."""
    return b"NaN" in encoded or b"Infinity" in encoded


def _finite(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


_encoder = msgspec.json.Encoder(enc_hook=plain, decimal_format="number")
