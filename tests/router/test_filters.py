"""What a filter asks for, operator by operator, and the laws that hold for all of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.router.decisions.filters import checked_filter, matches
from event_router.schemas.errors import InvalidValue

ORDER = {
    "id": "e-1",
    "topic": "order.paid",
    "time": "2026-01-31T12:00:00Z",
    "metadata": {"region": "eu"},
    "data": {
        "amount": 12.5,
        "count": 3,
        "paid": True,
        "note": None,
        "tags": ["new", "vip", 7],
        "customer": {"name": "Ada", "address": {"city": "London"}},
        "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}],
    },
}


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ({}, True),
        ({"amount": 12.5}, True),
        ({"amount": 12}, False),
        ({"count": 3.0}, True),
        ({"paid": True}, True),
        ({"paid": 1}, False),
        ({"count": True}, False),
        ({"note": None}, True),
        ({"missing": None}, False),
        ({"tags": "vip"}, True),
        ({"tags": 7}, True),
        ({"tags": "old"}, False),
        ({"tags": ["vip", "new"]}, True),
        ({"tags": ["vip", "old"]}, False),
        ({"tags": []}, True),
        ({"note": []}, False),
        ({"customer": {"name": "Ada", "address": {"city": "London"}}}, True),
        ({"customer": {"name": "Ada", "address": {"city": "Paris"}}}, False),
        ({"lines": [{"sku": "b"}]}, True),
        ({"lines": [{"sku": "a", "n": 2}]}, False),
        ({"amount": 12.5, "count": 4}, False),
        ({"amount": {"city": "London"}}, False),
    ],
)
def test_names_descend_and_all_must_hold(pattern: dict[str, Any], holds: bool) -> None:
    assert matches(checked_filter({"data": pattern}), ORDER) is holds


@pytest.mark.parametrize(
    ("operator", "operand", "value", "holds"),
    [
        ("$eq", 3, 3, True),
        ("$eq", [1, {"a": True}], [1, {"a": True}], True),
        ("$eq", [1, {"a": True}], [1, {"a": 1}], False),
        ("$eq", {"a": 1}, {"a": 1, "b": 2}, False),
        ("$eq", "a", ["a", "b"], True),
        ("$neq", 3, 4, True),
        ("$neq", 3, 3, False),
        ("$neq", "a", ["a"], False),
        ("$gt", 3, 3.5, True),
        ("$gt", 3, 3, False),
        ("$gt", 10**400, 1e308, False),
        ("$gte", 3, 3, True),
        ("$lt", "b", "a", True),
        ("$lt", 3, "2", False),
        ("$lt", 3, True, False),
        ("$lt", 3, None, False),
        ("$lte", 3, 3.0, True),
        ("$in", ["a", "b"], "b", True),
        ("$in", ["a", "b"], "ab", False),
        ("$in", [1], True, False),
        ("$in", ["a", "z"], ["x", "a"], True),
        ("$in", [], "a", False),
        ("$in", "day", "yesterday", True),
        ("$in", "Day", "yesterday", False),
        ("$in", "a", ["a"], True),
        ("$in", "a", 5, False),
        ("$nin", ["a", "b"], "c", True),
        ("$nin", "day", "yesterday", False),
        ("$startsWith", "order.", "order.paid", True),
        ("$startsWith", "paid", "order.paid", False),
        ("$startsWith", "a", 5, False),
        ("$endsWith", ".paid", "order.paid", True),
        ("$endsWith", "order", "order.paid", False),
        ("$exist", True, None, True),
        ("$exist", False, None, False),
        ("$or", [{"$lt": 1}, {"$gt": 5}], 6, True),
        ("$or", [{"$lt": 1}, {"$gt": 5}], 3, False),
        ("$or", ["a", "b"], "b", True),
        ("$and", [{"$gte": 1}, {"$lte": 5}], 3, True),
        ("$and", [{"$gte": 1}, {"$lte": 5}], 6, False),
        ("$not", {"$startsWith": "a"}, "b", True),
        ("$not", "a", "a", False),
    ],
)
def test_an_operator_holds_when_it_should(
    operator: str, operand: object, value: object, holds: bool
) -> None:
    assert matches(checked_filter({"data": {operator: operand}}), {"data": value}) is holds


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ({"$exist": False}, True),
        ({"$exist": True}, False),
        ({"$neq": 1}, True),
        ({"$nin": [1]}, True),
        ({"$not": 1}, True),
        ({"$lt": 1}, False),
        ({"$in": [None]}, False),
    ],
)
def test_what_is_missing_equals_nothing(pattern: dict[str, Any], holds: bool) -> None:
    assert matches(checked_filter({"data": {"nowhere": {"at": pattern}}}), ORDER) is holds


def test_operators_stand_at_the_top_as_well() -> None:
    either = {"$or": [{"topic": "order.paid"}, {"$not": {"metadata": {"region": "eu"}}}]}
    assert matches(checked_filter(either), ORDER)
    assert not matches(checked_filter({"$not": either}), ORDER)


@pytest.mark.parametrize(
    ("pattern", "place", "right"),
    [
        ([], "filter: ", "an object"),
        ({"dta": {}}, "filter.dta: ", "one of id, topic, time, metadata, data, or an operator"),
        ({"$or": [{"id": "a"}, {"dta": 1}]}, "filter.$or[1].dta: ", "one of id"),
        ({"$not": {"$and": [{"dta": 1}]}}, "filter.$not.$and[0].dta: ", "one of id"),
        ({"data": {"a": {"$regex": "x"}}}, "filter.data.a.$regex: ", "an operator ($eq,"),
        ({"data": {"$ref": "x"}}, "filter.data.$ref: ", "an operator"),
        ({"data": {"a": {"$gt": None}}}, "filter.data.a.$gt: ", "a number or a string"),
        ({"data": {"a": {"$gt": True}}}, "filter.data.a.$gt: ", "a number or a string"),
        ({"data": [{"$startsWith": 1}]}, "filter.data[0].$startsWith: ", "a string"),
        ({"id": {"$exist": "yes"}}, "filter.id.$exist: ", "true or false"),
        ({"id": {"$or": {}}}, "filter.id.$or: ", "a list of patterns"),
        ({"id": {"$and": []}}, "filter.id.$and: ", "a list of patterns"),
    ],
)
def test_a_filter_that_cannot_be_right_names_the_place(
    pattern: object, place: str, right: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        checked_filter(pattern)
    assert str(caught.value).startswith(place)
    assert right in str(caught.value)


@pytest.mark.parametrize("deeper", [lambda p: {"a": p}, lambda p: [p], lambda p: {"$not": p}])
def test_a_filter_has_a_bounded_depth(deeper: Any) -> None:
    pattern: Any = 1
    for _ in range(31):
        pattern = deeper(pattern)
    assert checked_filter({"data": pattern})
    for _ in range(100_000):
        pattern = deeper(pattern)
    with pytest.raises(InvalidValue, match="at most 32 levels deep"):
        checked_filter({"data": pattern})


# -- laws ---------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.5, 1.0, 1e308, 10**400])
    | st.sampled_from(["", "a", "ab", "b"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def _patterns(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    operators = st.one_of(
        st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("$eq", "$neq", "$in", "$nin", "$not"), inner)
        ),
        st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), st.integers(-2, 2))
        ),
        st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("$startsWith", "$endsWith"), st.sampled_from(["a", ""]))
        ),
        st.fixed_dictionaries({"$exist": st.booleans()}),
        st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("$or", "$and"), st.lists(inner, min_size=1, max_size=3)),
        ),
    )
    names = st.dictionaries(NAMES, inner, max_size=3)
    return st.lists(inner, max_size=3) | operators | names


PATTERNS = st.recursive(SCALARS, _patterns, max_leaves=8)


def holds(pattern: Any, value: Any) -> bool:
    return matches(checked_filter({"data": pattern}), {"data": value})


@given(PATTERNS, VALUES)
def test_a_checked_filter_never_raises_and_not_is_its_complement(pattern: Any, value: Any) -> None:
    assert holds({"$not": pattern}, value) is not holds(pattern, value)


@given(VALUES, VALUES)
def test_neq_and_nin_are_complements(operand: Any, value: Any) -> None:
    assert holds({"$neq": operand}, value) is not holds({"$eq": operand}, value)
    assert holds({"$nin": operand}, value) is not holds({"$in": operand}, value)


@given(st.lists(PATTERNS, min_size=1, max_size=4), VALUES)
def test_or_is_any_and_and_is_all(patterns: list[Any], value: Any) -> None:
    each = [holds(pattern, value) for pattern in patterns]
    assert holds({"$or": patterns}, value) is any(each)
    assert holds({"$and": patterns}, value) is all(each)


@given(VALUES)
def test_everything_equals_itself(value: Any) -> None:
    assert holds({"$eq": value}, value)
    assert holds({"$in": [value]}, value)


@given(VALUES, st.integers(-2, 2))
def test_greater_is_neither_less_nor_equal(value: Any, operand: int) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    assert holds({"$gt": operand}, value) is (number and not holds({"$lte": operand}, value))
    assert holds({"$lt": operand}, value) is (number and not holds({"$gte": operand}, value))


@given(PATTERNS, PATTERNS, VALUES)
def test_the_keys_of_a_pattern_are_joined_by_and(one: Any, other: Any, value: Any) -> None:
    both = {"a": one, "b": other}
    assert holds(both, value) is (holds({"a": one}, value) and holds({"b": other}, value))
