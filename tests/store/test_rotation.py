"""Rotating the keys that encrypt credentials, while others write."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from rich.console import Console

from event_router.router.commands.secrets import rotate, show_status
from event_router.router.store.database import Database
from event_router.router.store.migrate import migrate
from event_router.router.store.ports import DestinationFields
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.rotation import Rotated, Rotation, Sealed
from event_router.router.store.secrets import Secrets
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import EventRouterError, Unavailable
from tests.store.tokens import Tokens

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()
LOST = "lost:" + base64.b64encode(b"l" * 32).decode()


def _key(number: int) -> DestinationKey:
    return DestinationKey(f"tenant-{number % 3}", f"hook-{number}")


def _fields(secret: str) -> DestinationFields:
    return DestinationFields(
        "webhook", ("*",), {}, {"secret": secret}, delivery_metadata={"a": "b"}
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/registry.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    migrate(url, "registry")
    return url


Opened = Callable[..., SqlRegistry]


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Opened]:
    """Registries with the keys that are named, sharing one set of tokens."""
    tokens = Tokens()
    registries: list[SqlRegistry] = []

    def open_(*keys: str) -> SqlRegistry:
        registries.append(SqlRegistry(url, Secrets(keys), tokens))
        return registries[-1]

    yield open_
    for registry in registries:
        await registry.aclose()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url, connections=1)
    yield database
    await database.aclose()


async def _filled(registry: SqlRegistry, count: int) -> None:
    for tenant in {_key(number).tenant for number in range(count)}:
        await registry.upsert_tenant(tenant, None)
    for number in range(count):
        await registry.create(_key(number), _fields(f"secret-{number}"))


async def _all(batches: AsyncIterator[Rotated]) -> list[Rotated]:
    return [batch async for batch in batches]


async def test_everything_lies_under_the_first_key_and_says_what_it_said(
    opened: Opened, database: Database
) -> None:
    old = opened(OLD)
    await _filled(old, 7)
    before = await old.destinations([f"tenant-{number}" for number in range(3)])
    rotation = Rotation(database, Secrets([NEW, OLD]), batch=3)
    assert [batch.sealed for batch in await _all(rotation.run())] == [3, 3, 1]
    assert await rotation.by_key() == {"new": 7}
    after = await opened(NEW).destinations([f"tenant-{number}" for number in range(3)])
    assert after == before  # the version too: nobody has to load it anew


async def test_one_that_was_interrupted_goes_on_where_it_was(
    opened: Opened, database: Database
) -> None:
    await _filled(opened(OLD), 7)
    rotation = Rotation(database, Secrets([NEW, OLD]), batch=3)
    async for _ in rotation.run():
        break
    assert await rotation.by_key() == {"new": 3, "old": 4}
    assert [batch.sealed for batch in await _all(rotation.run())] == [3, 1]
    assert await _all(rotation.run()) == []


class _Meddling(Rotation):
    """Somebody writes a destination after its batch was read."""

    def __init__(self, database: Database, secrets: Secrets, registry: SqlRegistry) -> None:
        super().__init__(database, secrets)
        self._registry = registry
        self.meddled = False

    async def _page(self, after: DestinationKey, but: str) -> list[Sealed]:
        page = await super()._page(after, but)
        if but and not self.meddled:
            self.meddled = True
            await self._registry.replace(_key(1), _fields("changed meanwhile"))
            await self._registry.delete(_key(2))
        return page


async def test_what_is_written_meanwhile_is_not_overwritten(
    opened: Opened, database: Database
) -> None:
    """Also by a process that encrypts with the old key still: what is left over is shown."""
    old, secrets = opened(OLD), Secrets([NEW, OLD])
    await _filled(old, 4)
    rotation = _Meddling(database, secrets, old)
    assert [batch.sealed for batch in await _all(rotation.run())] == [2]
    changed = await opened(NEW, OLD).destination(_key(1))
    assert changed is not None
    assert changed.credentials == {"secret": "changed meanwhile"}
    assert await opened(NEW, OLD).destination(_key(2)) is None
    assert await rotation.by_key() == {"new": 2, "old": 1}
    await _all(rotation.run())
    assert await rotation.by_key() == {"new": 3}


async def test_no_edit_is_lost_while_it_runs(opened: Opened, database: Database) -> None:
    registry = opened(NEW, OLD)
    await _filled(opened(OLD), 40)

    async def edit(number: int) -> None:
        before = await registry.destination(_key(number))
        assert before is not None
        assert await registry.replace(_key(number), _fields(f"edited-{number}"), before.version)

    rotation = Rotation(database, Secrets([NEW, OLD]), batch=2)
    async with asyncio.TaskGroup() as group:
        group.create_task(_all(rotation.run()))
        for number in range(0, 40, 2):
            group.create_task(edit(number))
    for number in range(40):
        now = await registry.destination(_key(number))
        assert now is not None
        expected = f"secret-{number}" if number % 2 else f"edited-{number}"
        assert now.credentials == {"secret": expected}
    assert await rotation.by_key() == {"new": 40}


async def test_what_does_not_open_is_left_and_named_while_the_rest_is_rotated(
    opened: Opened, database: Database
) -> None:
    await _filled(opened(OLD), 3)
    await opened(LOST).replace(_key(1), _fields("whose key is lost"))
    rotation = Rotation(database, Secrets([NEW, OLD]))
    (batch,) = await _all(rotation.run())
    assert batch.sealed == 2
    assert batch.closed == ["the key 'lost' isn't in ROUTER_SECRETS_KEYS: add it at the end"]
    assert await rotation.by_key() == {"new": 2, "lost": 1}


async def test_a_registry_without_tables_says_what_to_do(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/empty.sqlite", connections=1)
    with pytest.raises(Unavailable, match="has `router init` been run"):
        await Rotation(database, Secrets([NEW])).by_key()
    await database.aclose()


def _console() -> tuple[Console, Callable[[], str]]:
    out = io.StringIO()
    return Console(file=out, width=200), out.getvalue


def _set(monkeypatch: pytest.MonkeyPatch, url: str, *keys: str) -> None:
    monkeypatch.setenv("ROUTER_DATABASE", url)
    monkeypatch.setenv("ROUTER_SECRETS_KEYS", ",".join(keys))


async def test_the_commands_say_what_is_under_which_key_and_what_to_do(
    opened: Opened, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _filled(opened(OLD), 3)
    _set(monkeypatch, url, NEW, OLD)
    console, shown = _console()
    assert await show_status(console) == 0
    assert "still needed: `router secrets rotate`" in shown()
    console, shown = _console()
    assert await rotate(console) == 0
    assert "3/3" in shown()
    assert "no longer needed" in shown()
    _set(monkeypatch, url, NEW)
    console, shown = _console()
    assert await show_status(console) == 0
    assert "old" not in shown()


async def test_a_key_that_is_not_given_fails_the_commands_and_is_named(
    opened: Opened, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _filled(opened(OLD), 8)
    _set(monkeypatch, url, NEW)
    for command in (show_status, rotate):
        console, shown = _console()
        assert await command(console) == 1
        assert "missing: add it at the end of ROUTER_SECRETS_KEYS" in shown()
    assert "8 not rotated: the key 'old' isn't in ROUTER_SECRETS_KEYS" in shown()


async def test_the_status_names_each_destination_that_does_not_open(
    opened: Opened, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _filled(opened(OLD), 30)
    await opened(LOST).replace(_key(1), _fields("whose key is lost"))
    _set(monkeypatch, url, OLD)
    console, shown = _console()
    assert await show_status(console) == 1
    owner = _key(1)
    lines = [line for line in shown().splitlines() if line.startswith("can't be read: ")]
    why = "the key 'lost' isn't in ROUTER_SECRETS_KEYS: add it at the end"
    assert lines == [f"can't be read: {owner.tenant}/{owner.destination}: {why}"]
    _set(monkeypatch, url, NEW)
    console, shown = _console()
    assert await show_status(console) == 1
    assert shown().count("can't be read: ") == 20
    assert "… and 10 more" in shown()


async def test_no_keys_at_all_is_an_error_that_names_the_variable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, url)
    with pytest.raises(EventRouterError, match="ROUTER_SECRETS_KEYS"):
        await show_status()
