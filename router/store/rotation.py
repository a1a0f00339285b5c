"""Sealing every destination's credentials anew under the first key, while the system runs.

What a row says doesn't change, so neither does its version: nobody reloads anything. A row is
written only if it is still sealed as it was read, so what somebody else writes meanwhile stands.
Nothing is remembered: what isn't under the first key yet is what is left to do.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, tuple_, update

from event_router.router.store.database import Database
from event_router.router.store.secrets import Secrets, key_name
from event_router.router.store.tables import destinations
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import Unavailable

BATCH = 500
_BEFORE_ALL = DestinationKey("", "")
_OWNER = (destinations.c.tenant, destinations.c.id)


class Sealed(NamedTuple):
    """A destination's credentials as they are stored."""

    owner: DestinationKey
    text: str


class Rotated(NamedTuple):
    """A batch: how many were sealed anew, and why each of the others couldn't be."""

    sealed: int
    closed: list[str]


class Rotation:
    """Over a registry's database. Everything raises Unavailable when that is in trouble."""

    def __init__(self, database: Database, secrets: Secrets, batch: int = BATCH) -> None:
        self._database = database
        self._secrets = secrets
        self._batch = batch

    async def by_key(self) -> Counter[str]:
        """How many destinations each key has sealed."""
        counted: Counter[str] = Counter()
        after = _BEFORE_ALL
        while page := await self._page(after, ""):
            counted.update(key_name(one.text) for one in page)
            after = page[-1].owner
        return counted

    async def closed(self) -> list[str]:
        """Which don't open with the keys that are given, and why."""
        found: list[str] = []
        after = _BEFORE_ALL
        while page := await self._page(after, ""):
            for one in page:
                try:
                    self._secrets.open(one.owner, one.text)
                except Unavailable as error:
                    found.append(f"{one.owner.tenant}/{one.owner.destination}: {error.detail}")
            after = page[-1].owner
        return found

    async def run(self) -> AsyncIterator[Rotated]:
        """Each batch once it is committed. What is written meanwhile by a process whose first key
        is another one may be left over: see `by_key`."""
        after = _BEFORE_ALL
        while page := await self._page(after, self._secrets.names[0]):
            renewed, closed = self._renewed(page)
            written = await self._database.write(partial(_replace, renewed))
            yield Rotated(written, closed)
            after = page[-1].owner

    async def _page(self, after: DestinationKey, but: str) -> list[Sealed]:
        return await self._database.read(partial(_read, after, but, self._batch))

    def _renewed(self, page: Sequence[Sealed]) -> tuple[list[tuple[Sealed, str]], list[str]]:
        renewed, closed = [], []
        for one in page:
            try:
                secret = self._secrets.open(one.owner, one.text)
            except Unavailable as error:
                closed.append(error.detail)
            else:
                renewed.append((one, self._secrets.seal(one.owner, secret)))
        return renewed, closed


def _read(after: DestinationKey, but: str, limit: int, connection: Connection) -> list[Sealed]:
    """The next rows in the order of the primary key, without those sealed by the key `but`."""
    prefix = f"{but}:"
    query = (
        select(*_OWNER, destinations.c.sealed)
        .where(tuple_(*_OWNER) > tuple_(*after))
        .where(func.substr(destinations.c.sealed, 1, len(prefix)) != prefix)
        .order_by(*_OWNER)
        .limit(limit)
    )
    return [Sealed(DestinationKey(row[0], row[1]), row[2]) for row in connection.execute(query)]


def _replace(renewed: Sequence[tuple[Sealed, str]], connection: Connection) -> int:
    """How many were still as they had been read."""
    anew = (
        update(destinations)
        .where(
            destinations.c.tenant == bindparam("of_tenant"),
            destinations.c.id == bindparam("of_id"),
            destinations.c.sealed == bindparam("before"),
        )
        .values(sealed=bindparam("after"))
    )
    rows = [
        {
            "of_tenant": one.owner.tenant,
            "of_id": one.owner.destination,
            "before": one.text,
            "after": text,
        }
        for one, text in renewed
    ]
    return sum(connection.execute(anew, row).rowcount for row in rows)
