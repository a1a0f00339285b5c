"""A table of PostgreSQL: a row an event.

The table is yours to make; it has at least these columns:

    CREATE TABLE events (
        event_id text PRIMARY KEY, topic text NOT NULL, time timestamptz NOT NULL,
        content_type text NOT NULL, metadata jsonb NOT NULL, data bytea NOT NULL
    )

Where `event_id` is unique, a duplicate changes nothing. `data` may be `text` or `jsonb` as well:
say so in the config. `jsonb` keeps the values, not the bytes.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.fields import Fields, Needs, Secret, Server, Shown, Text
from event_router.consumers.sinks.hosts import host_and_port, vetted_address
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.tls import (
    CA_CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Certificates,
    ClientKey,
)
from event_router.consumers.sinks.trouble import Troubles
from event_router.consumers.tls import pem_file
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, Rejected, Unavailable

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Error

MOST_CONNECTIONS = 4
_OWN_COLUMNS = frozenset({"event-id", "topic", "timestamp", "content-type"})
_READ_AS = {
    "bytea": "%s::bytea",
    "text": "convert_from(%s::bytea, 'UTF8')",
    "jsonb": "convert_from(%s::bytea, 'UTF8')::jsonb",
}

# By SQLSTATE, the longer ones first.
_CODES = {
    "42501": "permission_denied",
    "42P01": "target_not_found",
    "42703": "target_not_found",
    "3D000": "target_not_found",
    "3F000": "target_not_found",
    "25006": "service_unavailable",
    "22001": "message_too_large",
    "54000": "message_too_large",
    "22": "payload_refused",
    "28": "authentication_failed",
    "53": "throttled",
    "57": "service_unavailable",
    "08": "connection_reset",
}
# What libpq says of a connection that it couldn't make, without a code.
_SENTENCES = {
    "too many": "throttled",
    "Connection refused": "connection_refused",
    "password authentication failed": "authentication_failed",
    "no password supplied": "authentication_failed",
    "pg_hba.conf": "authentication_failed",
    'role "': "authentication_failed",
    "does not exist": "target_not_found",
    "remaining connection slots": "throttled",
    "valid client certificate": "authentication_failed",
    "certificate": "tls_error",
    "SSL": "tls_error",
    "starting up": "service_unavailable",
    "shutting down": "service_unavailable",
}
_NO_PASSWORD = "none"  # noqa: S105  it is none
"""Without one, libpq would send what it finds in our environment, or in our home."""
_REJECTED = frozenset({"message_too_large", "payload_refused"})


class PostgresConfig(Fields):
    """A table."""

    server: Server = Field(title="Server", description="host:port")
    database: Text = Field(title="Database")
    table: str = Field(
        title="Table",
        description="Its name, or schema.table.",
        max_length=127,
        pattern=r"^[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?$",
    )
    data_type: Literal["bytea", "text", "jsonb"] = Field(
        "bytea", title="Type of data", description="The type of the column data."
    )
    tls: bool = Field(
        True, title="TLS", description="With a certificate for the host by a known authority."
    )
    ca_certificate: Certificates | None = CA_CERTIFICATE


class PostgresCredentials(Fields):
    """Of a role that may insert into the table."""

    username: Text = Field(title="Username", repr=False)
    password: Secret | None = Field(
        None,
        title="Password",
        description="Not needed by a role that shows a certificate.",
        repr=False,
    )
    client_certificate: Certificates | None = CLIENT_CERTIFICATE
    client_key: ClientKey = CLIENT_KEY


class Postgres(Batched):
    """One destination's table. Connections are made as deliveries need them."""

    label: ClassVar[str] = "PostgreSQL"
    description: ClassVar[str] = "Insert events as rows into a table of PostgreSQL"
    Config: ClassVar[type[BaseModel]] = PostgresConfig
    Credentials: ClassVar[type[BaseModel]] = PostgresCredentials
    needs: ClassVar[Needs] = Needs("postgres", ("psycopg",))
    batch: Batch = Batch(count=200, bytes=4 << 20, at_once=MOST_CONNECTIONS)

    def __init__(
        self,
        destination: Destination,
        config: PostgresConfig,
        credentials: PostgresCredentials,
        resources: SinkResources,
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._metadata = destination.delivery_metadata
        self._resources = resources
        self._troubles = Troubles(credentials)
        self._statement = _insert(config)
        self._idle: list[AsyncConnection] = []
        self._slots = asyncio.Semaphore(MOST_CONNECTIONS)
        self._closed = False

    @staticmethod
    def shown(config: PostgresConfig) -> Shown:
        return Shown(f"{config.server} / {config.database} / {config.table}")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """In one transaction, unless one of them can't be a row: then each in its own."""
        rows = [self._row(delivery) for delivery in deliveries]
        async with self._troubles.attempt(self._resources.timeout), self._slots:
            try:
                async with self._connection() as connection:
                    await _insert_all(connection, self._statement, rows)
            except Rejected as refusal:
                if len(rows) == 1:
                    return [refusal]
                return [await self._alone(row) for row in rows]
        return [Answer("OK")] * len(rows)

    async def aclose(self) -> None:
        self._closed = True
        await self._close_idle()

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _alone(self, row: Any) -> Result:
        try:
            async with self._connection() as connection:
                await _insert_all(connection, self._statement, [row])
        except (Rejected, Unavailable) as trouble:
            return trouble
        return Answer("OK")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["AsyncConnection"]:
        """One that nobody else uses meanwhile; kept for later unless something went wrong."""
        from psycopg import Error

        connection: AsyncConnection | None = None
        try:
            connection = self._idle.pop() if self._idle else await self._connect()
            yield connection
            if not self._closed:
                self._idle.append(connection)
                connection = None
        except Error as error:
            if connection is not None and connection.broken:
                await self._close_idle()  # those of before are probably broken, too
            raise self._trouble(error) from error
        finally:
            if connection is not None:
                await connection.close()

    async def _connect(self) -> "AsyncConnection":
        from psycopg import AsyncConnection

        host, port = host_and_port(self._config.server)
        address = await vetted_address(self._resources.resolver, host)
        with _tls_parameters(self._config, self._credentials) as tls:
            return await AsyncConnection.connect(
                host=host,
                hostaddr=address,
                port=port,
                dbname=self._config.database,
                user=self._credentials.username,
                password=self._credentials.password or _NO_PASSWORD,
                gssencmode="disable",
                application_name="event-router",
                **tls,
            )

    def _row(self, delivery: Delivery) -> tuple[Any, ...]:
        head = delivery.head
        metadata = {
            name: value
            for name, value in merged_metadata(self._metadata, head).items()
            if name not in _OWN_COLUMNS
        }
        texts = (head.event, head.topic, head.time, head.content_type, json.dumps(metadata))
        return (*texts, delivery.data)

    def _trouble(self, error: "Error") -> Unavailable | Rejected:
        code = _code(error)
        if code not in _REJECTED:
            return self._troubles.unavailable(code, error)
        if code == "message_too_large":
            return self._troubles.too_large(error)
        detail = self._troubles.told(error)
        return Rejected(code, detail, answer=Answer(code, body=detail.encode(errors="replace")))


@contextmanager
def _tls_parameters(
    config: PostgresConfig, credentials: PostgresCredentials
) -> Iterator[dict[str, Any]]:
    """libpq's, which reads files, and shows a certificate of its user's unless told otherwise."""
    certificate, key = credentials.client_certificate, credentials.client_key
    if not config.tls:
        yield {"sslmode": "disable"}
        return
    with pem_file(config.ca_certificate or "") as ca, pem_file(certificate or "", key or "") as own:
        yield {
            "sslmode": "verify-full",
            "sslrootcert": ca if config.ca_certificate else _authorities(),
            "sslcertmode": "allow" if certificate else "disable",
            "sslcert": own,
            "sslkey": own,
        }


def _authorities() -> str:
    """The system's, where Python finds them: the OpenSSL within psycopg may look elsewhere."""
    return ssl.get_default_verify_paths().cafile or "system"


def _insert(config: PostgresConfig) -> str:
    """Names keep their case, which the pattern of the config allows to quote them so."""
    table = ".".join(f'"{part}"' for part in config.table.split("."))
    columns = "event_id, topic, time, content_type, metadata, data"
    data = _READ_AS[config.data_type]
    values = f"%s::text, %s::text, %s::timestamptz, %s::text, %s::jsonb, {data}"
    return f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608  see above


async def _insert_all(connection: "AsyncConnection", statement: str, rows: Sequence[Any]) -> None:
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.executemany(statement.encode(), rows)


def _code(error: "Error") -> str:
    state = error.sqlstate or ""
    for length in (5, 2):
        if state[:length] in _CODES:
            return _CODES[state[:length]]
    if state:
        return "request_refused"
    text = str(error)
    return next((code for said, code in _SENTENCES.items() if said in text), "connection_reset")
