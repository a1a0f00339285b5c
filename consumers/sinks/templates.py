"""Templates: a JMESPath expression that picks a text out of an event, as a partition or object key.

It sees `metadata` (with the system's own `event-id`, `topic` and `timestamp`), `data` (the payload,
when it is JSON) and `time` in parts, and nothing else. Whatever an event holds, a template costs at
most so much work and yields at most so long a text; the type Template keeps out at creation what
could never work. Pure.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any

from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import Parser
from jmespath.visitor import TreeInterpreter
from pydantic import AfterValidator, Field

from event_router.schemas.delivery import Delivery

ROOTS = ("data", "metadata", "time")
LONGEST = 1024
WORK = 20_000
"""Nodes visited and values made for one event: some 20 ms at most, a few microseconds mostly."""

_Node = dict[str, Any]
_FUNCTIONS = frozenset(Functions.FUNCTION_TABLE)
_OWN_SCOPE = frozenset({"literal", "current", "identity", "expref"})
_FIRST_ONLY = frozenset(
    {
        "subexpression",
        "index_expression",
        "projection",
        "value_projection",
        "filter_projection",
        "flatten",
        "pipe",
    }
)


def _checked(text: str) -> str:
    node = _parsed(text)
    for name in _called(node):
        if name not in _FUNCTIONS:
            raise ValueError(f"JMESPath: there is no function {name}()")
    for name in _roots(node):
        if name not in ROOTS:
            raise ValueError(f"JMESPath over {', '.join(ROOTS)}: there is no {name!r}")
    return text


Template = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_checked)]
"""What people enter: valid JMESPath."""

PARTITION_KEY: Any = Field(
    None,
    title="Partition key",
    description="JMESPath over metadata, data and time, as in data.customer.id; the event's id"
    " without one, and for events in which it finds no text or number.",
)


class Compiled:
    """A Template that is ready to be applied. `longest` is in bytes of UTF-8."""

    def __init__(self, template: str, longest: int) -> None:
        self._node = _parsed(template)
        self._reads_data = "data" in set(_roots(self._node)) or _reads_all(self._node)
        self._longest = longest

    def text(self, delivery: Delivery, metadata: Mapping[str, str]) -> str | None:
        """What it finds in the event; None when that is no text, number or truth value, is empty,
        too long, has control characters, or took too much work."""
        seen = {"metadata": metadata, "time": _Time(delivery.head.time).parts}
        try:
            if self._reads_data:
                seen["data"] = json.loads(delivery.data)
            found = _Bounded().visit(self._node, seen)
            return self._fit(found)
        except Exception:  # noqa: BLE001  what a producer sent may make any function of it fail
            return None

    def _fit(self, found: object) -> str | None:
        if isinstance(found, bool | int | float):
            found = json.dumps(found)
        if not isinstance(found, str) or not found or not found.isprintable():
            return None
        return found if len(found.encode()) <= self._longest else None


class _Bounded(TreeInterpreter):  # type: ignore[misc]  # it has no types
    """Raises when it has done WORK. What is made anew is counted as deep as it goes: nested a few
    dozen times, a list of itself twice would be larger than any memory once it is written out."""

    def __init__(self) -> None:
        super().__init__()
        self._left = WORK

    def visit(self, node: _Node, *args: Any, **kwargs: Any) -> Any:
        self._spend(1)
        found = super().visit(node, *args, **kwargs)
        if node["type"].startswith("multi_select"):
            self._spend_on(found)
        elif isinstance(found, list):
            self._spend(len(found))
        elif isinstance(found, str):
            self._spend(len(found) >> 6)
        return found

    def _spend_on(self, value: object) -> None:
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, list | dict):
                self._spend(len(one) + 1)
                waiting.extend(one.values() if isinstance(one, dict) else one)
            elif isinstance(one, str):
                self._spend(len(one) >> 6)

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise ValueError("it takes too much work")


class _Time:
    """An event's time as templates see it, in UTC."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def parts(self) -> dict[str, str]:
        """Nothing but the text itself, when it is no RFC 3339."""
        try:
            at = datetime.fromisoformat(self._text).astimezone(UTC)
        except ValueError:
            return {"rfc3339": self._text, "rfc3339_nano": self._text}
        names = ("year", "month", "day", "hour", "minute", "second")
        parts = dict(zip(names, at.strftime("%Y %m %d %H %M %S").split(), strict=True))
        return parts | {
            "date": at.strftime("%Y-%m-%d"),
            "datetime": at.strftime("%Y-%m-%dT%H:%M:%S"),
            "unix": str(int(at.timestamp())),
            "rfc3339": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "rfc3339_nano": self._text,
        }


def _parsed(text: str) -> _Node:
    """Raises ValueError that says what would be right."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            node: _Node = Parser().parse(text).parsed
    except (JMESPathError, Warning) as error:
        raise ValueError(f"JMESPath ({' '.join(str(error).split())[:200]})") from None
    except RecursionError:
        raise ValueError("JMESPath that is nested less deeply") from None
    return node


def _called(node: _Node) -> Iterator[str]:
    """The functions that the expression calls."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        yield from _called(child)


def _roots(node: _Node) -> Iterator[str]:
    """The fields that the expression reads of the event itself, not of something within it."""
    kind = node["type"]
    if kind == "field":
        yield node["value"]
    elif kind in _FIRST_ONLY:
        yield from _roots(node["children"][0])
    elif kind not in _OWN_SCOPE:
        for child in node["children"]:
            yield from _roots(child)


def _reads_all(node: _Node) -> bool:
    """Whether the event as a whole is used somewhere: `@`, or `*`."""
    return node["type"] in ("current", "identity") or any(map(_reads_all, node["children"]))
