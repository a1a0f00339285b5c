"""Pages of a list: a cursor names the row at the page's edge, not a number of rows to skip.

So a page never repeats or misses a row because others were added meanwhile.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec

from event_router.schemas.errors import InvalidValue

T = TypeVar("T")

Position = tuple[Any, ...]
Edge = Literal["next", "prev"]


class Paging(msgspec.Struct, frozen=True):
    """Which page: the first one, or that after `next`, or that before `prev`."""

    limit: int = 100
    descending: bool = True
    next: str | None = None
    prev: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Rows, and the cursors of the pages around them; None where there is none."""

    models: list[T]
    next: str | None = None
    prev: str | None = None


class Seek(msgspec.Struct, frozen=True):
    """What to read: up to `limit` + 1 rows beyond `start`, in the order `descending` says.

    A previous page is read backwards, from its end.
    """

    limit: int
    descending: bool
    start: Position | None
    backwards: bool

    def of(self, rows: Iterable[T], position_of: Callable[[T], Position]) -> list[T]:
        """What a database would answer that holds `rows`."""
        ordered = sorted(rows, key=position_of, reverse=self.descending)
        start = self.start
        if start is not None:
            ordered = [row for row in ordered if self._beyond(position_of(row), start)]
        return ordered[: self.limit + 1]

    def _beyond(self, position: Position, start: Position) -> bool:
        return position < start if self.descending else position > start


def seek(paging: Paging, position: Any) -> Seek:
    """Raises InvalidValue for a cursor that isn't one of a list in this order, or for two."""
    if paging.next is not None and paging.prev is not None:
        raise InvalidValue("prev", paging.prev, "allowed together with next")
    edge: Edge = "next" if paging.prev is None else "prev"
    cursor = paging.next if paging.prev is None else paging.prev
    start = None if cursor is None else _read_cursor(edge, cursor, position)
    backwards = paging.prev is not None
    return Seek(paging.limit, paging.descending != backwards, start, backwards)


def page(found: Sequence[T], sought: Seek, position_of: Callable[[T], Position]) -> Page[T]:
    """The page of what was read for `sought`: `limit` + 1 rows when there are more beyond."""
    more = len(found) > sought.limit
    rows = list(found[: sought.limit])
    if sought.backwards:
        rows.reverse()
    if not rows:
        return Page([])
    before = more if sought.backwards else sought.start is not None
    after = sought.backwards or more
    return Page(
        rows,
        next=_cursor(position_of(rows[-1])) if after else None,
        prev=_cursor(position_of(rows[0])) if before else None,
    )


def _cursor(position: Position) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _read_cursor(edge: Edge, text: str, position: type[Any]) -> Position:
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        start: Position = msgspec.json.decode(packed, type=position)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise InvalidValue(edge, text, f"the cursor `{edge}` of an earlier answer") from error
    return start
