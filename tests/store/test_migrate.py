from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from event_router.router.store import tables
from event_router.router.store.database import make_engine
from event_router.router.store.migrate import Which, migrate
from event_router.schemas.errors import InvalidValue, Unavailable

METADATA = {"registry": tables.registry, "log": tables.log}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_url")
    else:
        yield f"sqlite:///{tmp_path}/folder that%20is new/one.sqlite"


@pytest.mark.parametrize("which", ["registry", "log"])
def test_a_migrated_database_has_the_tables_that_the_code_knows(url: str, which: Which) -> None:
    migrate(url, which)
    engine = make_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": f"{which}_version"})
        assert compare_metadata(context, METADATA[which]) == []
    engine.dispose()


def test_migrating_again_changes_nothing(url: str) -> None:
    migrate(url, "log")
    migrate(url, "log")


def test_registry_and_log_may_share_a_database(url: str) -> None:
    migrate(url, "registry")
    migrate(url, "log")
    engine = make_engine(url)
    assert {"tenants", "events"} <= set(inspect(engine).get_table_names())
    engine.dispose()


def test_several_migrations_at_once_wait_for_one_another(url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: migrate(url, "log"), range(4)))


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    migrate(url, "log")
    engine = make_engine(url)
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE log_version SET version_num = 'log_9999'"))
    engine.dispose()
    with pytest.raises(Unavailable, match="log_9999"):
        migrate(url, "log")


def test_a_database_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="database"):
        migrate("postgresql://nobody@127.0.0.1:1/none", "log")


@pytest.mark.parametrize("url", ["", "mysql://a/b", "sqlite://", "nonsense"])
def test_an_url_that_cannot_be_used_names_what_would_do(url: str) -> None:
    with pytest.raises(InvalidValue, match="sqlite:///"):
        migrate(url, "log")
