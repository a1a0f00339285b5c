"""Tables, on PostgreSQL."""

import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.sinks.postgres import __doc__ as described
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    NetworkContract,
    SinkCase,
    Trouble,
    a_delivery,
    a_destination,
    forwarded_to,
    local_resources,
    refusing_port,
    silent_port,
)
from event_router.schemas.errors import InvalidValue, Rejected
from tests import services
from tests.contracts.sinks.tls_contract import Secured, TlsContract, outcome
from tests.server_certificates import NAME, Certified, a_client_of, certified

PASSWORD = "a-long-password"
ROW = "SELECT event_id, topic, content_type, metadata, data, time FROM events"


def arrived_as(row: Any) -> Arrived:
    event, topic, content_type, metadata, data, time = row
    told = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return Arrived(data, event, topic, content_type, {**metadata, "timestamp": told})


def table_as_described() -> str:
    found = re.search(r"CREATE TABLE.*?\n    \)\n", described or "", re.DOTALL)
    assert found
    return found[0]


async def run(url: str, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(
        services.plain(url), autocommit=True
    ) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


async def rows_of(url: str) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(services.plain(url)) as connection:
        return await (await connection.execute(ROW.encode())).fetchall()


@asynccontextmanager
async def a_role(url: str) -> AsyncIterator[dict[str, str]]:
    name = services.unique("role")
    await run(
        url, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'", f"GRANT INSERT ON events TO {name}"
    )
    try:
        yield {"username": name, "password": PASSWORD}
    finally:
        await run(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def config_of(url: str, **more: Any) -> dict[str, Any]:
    parts = urlsplit(url)
    server = f"{parts.hostname}:{parts.port}"
    return {"server": server, "database": parts.path[1:], "table": "events", "tls": False, **more}


class TestPostgres(NetworkContract, BatchContract):
    type = "postgres"

    @pytest.fixture
    async def case(self, postgres_url: str) -> AsyncIterator[SinkCase]:
        parts = urlsplit(postgres_url)
        await run(
            postgres_url, table_as_described(), "ALTER TABLE events ALTER topic TYPE varchar(100)"
        )

        async def arrived() -> list[Arrived]:
            return [arrived_as(row) for row in await rows_of(postgres_url)]

        @asynccontextmanager
        async def crowded() -> AsyncIterator[None]:
            await run(postgres_url, f"ALTER ROLE {credentials['username']} CONNECTION LIMIT 0")
            yield

        async with AsyncExitStack() as stack:
            proxy = await stack.enter_async_context(
                forwarded_to((str(parts.hostname), int(parts.port or 0)))
            )
            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            credentials = await stack.enter_async_context(a_role(postgres_url))
            config = config_of(postgres_url, server=proxy.server)
            troubles = {
                "missing_target": Trouble({**config, "table": "no_such_table"}),
                "refused_connection": Trouble({**config, "server": f"127.0.0.1:{refusing}"}),
                "time_out": Trouble({**config, "server": f"127.0.0.1:{silent}"}, seconds=0.3),
                "throttling": Trouble(arranged=crowded),
                "wrong_credentials": Trouble(credentials={**credentials, "username": "nobody"}),
                "too_large": Trouble(delivery=a_delivery(topic="t" * 101)),
            }
            yield SinkCase(config, arrived, troubles, credentials, proxy.connections)


@pytest.mark.parametrize("kind", ["text", "jsonb"])
async def test_data_may_be_a_text_or_json(postgres_url: str, kind: str) -> None:
    await run(postgres_url, table_as_described().replace("bytea", kind))
    config = config_of(postgres_url, data_type=kind)
    async with local_resources() as resources, a_role(postgres_url) as credentials:
        sink = load_sinks().open(a_destination("postgres", config, credentials), resources)
        await sink.deliver(a_delivery("evt_1", b'{"a": [1, 2]}'))
        with pytest.raises(Rejected) as caught:
            await sink.deliver(a_delivery("evt_2", b"\xff"))
        await sink.aclose()
    assert caught.value.code == "payload_refused"
    (row,) = await rows_of(postgres_url)
    assert row[4] == ('{"a": [1, 2]}' if kind == "text" else {"a": [1, 2]})


async def test_a_row_that_is_there_stays_as_it_is(postgres_url: str) -> None:
    await run(postgres_url, table_as_described())
    async with local_resources() as resources, a_role(postgres_url) as credentials:
        destination = a_destination("postgres", config_of(postgres_url), credentials)
        sink = load_sinks().open(destination, resources)
        for data in (b"first", b"second"):
            assert (await sink.deliver(a_delivery("evt_1", data))).code == "OK"
        await sink.aclose()
    assert [row[4] for row in await rows_of(postgres_url)] == [b"first"]


@pytest.mark.parametrize("table", ['"events"', "events;", "a.b.c", "", "ev ents", "1st", "é"])
def test_a_table_that_would_need_quotes_is_refused(table: str) -> None:
    config = {"server": "db.example:5432", "database": "d", "table": table}
    with pytest.raises(InvalidValue, match=r"config\.table"):
        load_sinks().check("postgres", config, {"username": "u", "password": "p"})


STRICT = """
host all postgres all trust
hostssl all certified all cert
hostssl all all all scram-sha-256
"""


@pytest.fixture(scope="module")
def strict_postgres() -> Iterator[tuple[services.Postgres, Certified]]:
    """One that wants a password and speaks TLS, or a certificate of the role `certified`."""
    tls = certified(services.workspace())
    hba = tls.key.with_name("hba")
    hba.write_text(STRICT)
    tls.key.chmod(0o600)
    if os.geteuid() == 0:
        for path in hba.parent.iterdir():
            shutil.chown(path, "postgres", "postgres")
    server = services.own_postgres(
        "ssl=on",
        f"ssl_cert_file={tls.certificate}",
        f"ssl_key_file={tls.key}",
        f"ssl_ca_file={tls.ca}",
        f"hba_file={hba}",
    )
    yield server, tls
    server.kill()


class TestPostgresTls(TlsContract):
    @pytest.fixture
    async def secured(
        self, strict_postgres: tuple[services.Postgres, Certified]
    ) -> AsyncIterator[Secured]:
        server, tls = strict_postgres
        url = server.create_database()
        await run(url, table_as_described())

        async def arrived() -> int:
            return len(await rows_of(url))

        async with a_role(url) as credentials:
            config = config_of(url, server=f"{NAME}:{urlsplit(url).port}", tls=True)
            yield Secured("postgres", config, credentials, tls.authority, arrived)

    async def test_passwords_are_checked(self, secured: Secured) -> None:
        wrong = await outcome(secured, secured.trusting, {"password": "a-wrong-guess"})
        assert wrong.code == "authentication_failed"
        plain = await outcome(secured, {**secured.config, "tls": False})
        assert plain.code == "authentication_failed"

    async def test_our_own_password_is_never_told(
        self, secured: Secured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ours: what libpq would take from the environment."""
        monkeypatch.setenv("PGPASSWORD", secured.credentials["password"])
        role = {"username": secured.credentials["username"]}
        told = await outcome(replace(secured, credentials=role), secured.trusting)
        assert told.code == "authentication_failed"

    async def test_a_certificate_may_stand_for_a_password(
        self, secured: Secured, strict_postgres: tuple[services.Postgres, Certified]
    ) -> None:
        server, tls = strict_postgres
        url = f"{server.url.rpartition('/')[0]}/{secured.config['database']}"
        grant = "GRANT INSERT ON events TO certified"
        await run(url, "CREATE ROLE certified LOGIN", grant)
        named = replace(secured, credentials={"username": "certified"})
        nobody = await outcome(named, secured.trusting)
        answer = await outcome(named, secured.trusting, a_client_of(tls.authority, "certified"))
        await run(url, "DROP OWNED BY certified", "DROP ROLE certified")
        assert nobody.code == "authentication_failed"
        assert answer.code == "OK", str(answer)
