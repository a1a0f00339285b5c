"""One destination that can't be read: the registry shows it as such, beside all the others."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from event_router.consumers.health import Health
from event_router.router.directory import CachedDirectory
from event_router.router.store.migrate import migrate
from event_router.router.store.ports import DestinationFields
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.secrets import Secrets
from event_router.router.unreadable import Unreadable
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import RetryOverride
from tests.store.test_rotation import LOST, NEW
from tests.store.tokens import Tokens

FINE, BAD = DestinationKey("acme", "fine"), DestinationKey("acme", "bad")
FIELDS = DestinationFields(
    type="webhook",
    topics=("a", "b"),
    config={"url": "https://example.com/"},
    credentials={"secret": "s"},
    filter={"topic": "a"},
    metadata={"team": "x"},
    delivery_metadata={"h": "1"},
    retry=RetryOverride(limit=1),
)
MISSING = "the key 'lost' isn't in ROUTER_SECRETS_KEYS: add it at the end"


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/registry.sqlite"
    migrate(url, "registry")
    return url


@pytest.fixture
async def registry(url: str) -> AsyncIterator[SqlRegistry]:
    """With a destination whose key it hasn't got."""
    tokens = Tokens()
    before, registry = (SqlRegistry(url, Secrets([key]), tokens) for key in (LOST, NEW))
    await registry.upsert_tenant("acme", None)
    await registry.create(FINE, FIELDS)
    await before.create(BAD, FIELDS)
    await before.aclose()
    yield registry
    await registry.aclose()


async def test_a_missing_key_is_the_trouble_of_its_destination_alone(
    registry: SqlRegistry,
) -> None:
    fine, bad = await registry.destinations(["acme"])
    assert (fine.unreadable, fine.is_paused, fine.config) == (None, False, FIELDS.config)
    assert (bad.unreadable, bad.is_paused) == (MISSING, True)
    assert (bad.topics, bad.filter, bad.retry) == (FIELDS.topics, FIELDS.filter, FIELDS.retry)
    assert (bad.config, bad.credentials, bad.delivery_metadata) == ({}, {}, None)
    assert await registry.destination(BAD) == bad


@pytest.mark.parametrize(
    ("column", "damage"),
    [
        ("topics", '["a"'),
        ("topics", '{"a": 1}'),
        ("topics", "[1]"),
        ("filter", "[]"),
        ("filter", "\x00"),
        ("metadata", '{"a": 1}'),
        ("retry", '{"limit": "many"}'),
        ("sealed", ""),
        ("sealed", "new:"),
        ("sealed", "new:ä"),
        ("sealed", Secrets([NEW]).seal(BAD, {"config": [], "credentials": {}})),
        ("sealed", Secrets([NEW]).seal(FINE, {"config": {}, "credentials": {}})),
    ],
)
async def test_a_damaged_row_is_the_trouble_of_its_destination_alone(
    registry: SqlRegistry, url: str, column: str, damage: str
) -> None:
    await registry.replace(BAD, FIELDS)
    engine = create_engine(url)
    with engine.begin() as connection:
        query = text(f"UPDATE destinations SET {column} = :to WHERE id = 'bad'")
        connection.execute(query, {"to": damage})
    engine.dispose()
    fine, bad = await registry.destinations(["acme"])
    assert fine.unreadable is None
    assert bad.unreadable is not None
    assert bad.topics == (("*",) if column == "topics" else FIELDS.topics), "it may match: it waits"
    assert (bad.filter is None) == (column == "filter")


async def test_it_is_said_once_and_shown_as_long_as_it_lasts(
    registry: SqlRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    health, now = Health(started=True), 0.0
    directory = CachedDirectory(registry, Tokens(), lambda: now, Unreadable(health).note)
    with caplog.at_level(logging.WARNING, "event_router.router.unreadable"):
        for _ in range(3):
            await directory.views(["acme"])
            now += 100
        assert [line.msg for line in caplog.records] == ["destinations.unreadable"]
        assert vars(caplog.records[0])["detail"] == MISSING
        assert health.warnings == {
            "destinations": "1 can't be read, and what is for them waits: "
            "`router doctor` names them"
        }
        assert health.ready
        await registry.replace(BAD, FIELDS)
        now += 100
        await directory.views(["acme"])
    assert [line.msg for line in caplog.records][1:] == ["destinations.readable"]
    assert health.warnings == {}
