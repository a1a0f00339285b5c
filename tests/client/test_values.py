"""Values of frames as JSON: the way somebody would write them."""

import json
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.client import BadArgument
from event_router.client.values import encode, encode_lines

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text()
    | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.int64(3), "3"),
        (np.float64(1.5), "1.5"),
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "true"),
        (np.str_("x"), '"x"'),
        (np.array([[1, 2], [3, 4]]), "[[1,2],[3,4]]"),
        (np.float64("nan"), "null"),
        (np.datetime64("2026-01-31T12:00:00.000000001"), '"2026-01-31T12:00:00"'),
        (np.datetime64("NaT"), "null"),
        (pd.Timestamp("2026-01-31 12:00", tz="UTC"), '"2026-01-31T12:00:00+00:00"'),
        (pd.NaT, "null"),
        (pd.NA, "null"),
        (pd.Timedelta(hours=1), '"PT3600S"'),
        (pa.scalar(5), "5"),
        (float("nan"), "null"),
        (float("-inf"), "null"),
        (Decimal("1.10"), "1.10"),
        (Decimal("NaN"), "null"),
        ([Decimal("Infinity"), "NaN"], '[null,"NaN"]'),
        (date(2026, 1, 31), '"2026-01-31"'),
        (datetime(2026, 1, 31, tzinfo=UTC), '"2026-01-31T00:00:00Z"'),
        (UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        (b"ab", '"YWI="'),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        (OrderedDict(a=1), '{"a":1}'),
        ((1, None), "[1,null]"),
    ],
)
def test_a_value_is_written_as_somebody_would(value: Any, written: str) -> None:
    assert encode({"a": value}) == f'{{"a":{written}}}'.encode()


@given(JSON)
def test_all_that_is_written_is_json(value: Any) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(encode({"a": value}), parse_constant=refuse)
    json.loads(encode_lines([{"a": value}], 1), parse_constant=refuse)


@pytest.mark.parametrize("value", [object(), lambda: 1, {(1, 2): 3}, "\ud800"])
def test_what_has_no_place_in_json_is_refused_by_name(value: Any) -> None:
    with pytest.raises(BadArgument, match="data: "):
        encode({"a": value})


def test_a_row_that_cant_be_written_is_named() -> None:
    with pytest.raises(BadArgument, match="row 12: "):
        encode_lines([{"a": 1}, {"a": object()}], 11)


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("value", [_nested(5_000), {"a": 10**5_000}], ids=["depth", "digits"])
def test_what_can_be_neither_encoded_nor_shown_is_refused_all_the_same(value: Any) -> None:
    with pytest.raises(BadArgument, match=r"^data: a dict that can't be written is not JSON"):
        encode(value)
