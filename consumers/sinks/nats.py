"""A subject of NATS, kept by a stream of JetStream: an answer means that it is stored."""

import asyncio
import re
import ssl
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, Field

from event_router.consumers.sinks.fields import Fields, Needs, Secret, Server, Shown
from event_router.consumers.sinks.hosts import host_and_port, vetted_address
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.nats_keys import NatsKey, of_creds, of_seed
from event_router.consumers.sinks.tls import (
    CA_CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Certificates,
    ClientKey,
    tls_of,
)
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, EventRouterError

if TYPE_CHECKING:
    from nats.aio.client import Client

_TOO_LARGE = (10054,)
_FULL = (10023, 10047, 10077)
"""JetStream's codes: a message over the stream's limit; no resources, or a stream that is full."""

# What a header can carry, and a name that isn't for JetStream itself, such as Nats-Rollup.
_NAME = re.compile(r"(?!nats-)[!-9;-~]+", re.IGNORECASE)
_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")

Subject = Annotated[str, Field(pattern=r"^[^\s.*>\x00]+(\.[^\s.*>\x00]+)*$", max_length=512)]


class NatsConfig(Fields):
    """A subject that a stream of JetStream listens to."""

    server: Server = Field(title="Server", description="host:port")
    subject: Subject = Field(title="Subject", description="Without wildcards.")
    tls: bool = Field(False, title="TLS")
    ca_certificate: Certificates | None = CA_CERTIFICATE


def _seed(text: str) -> str:
    of_seed(text)
    return text


def _creds(text: str) -> str:
    of_creds(text)
    return text


class NatsCredentials(Fields):
    """A user with a password, a token, an nkey or a `.creds` file, or nothing of all this."""

    username: str | None = Field(None, title="Username", repr=False)
    password: Secret | None = Field(None, title="Password", repr=False)
    token: Secret | None = Field(None, title="Token", repr=False)
    nkey_seed: Annotated[Secret, AfterValidator(_seed)] | None = Field(
        None, title="nkey", description="The user's seed, SU…", repr=False
    )
    creds: Annotated[Secret, AfterValidator(_creds)] | None = Field(
        None, title="Credentials file", description="What a .creds file contains.", repr=False
    )
    client_certificate: Certificates | None = CLIENT_CERTIFICATE
    client_key: ClientKey = CLIENT_KEY

    @property
    def key(self) -> NatsKey | None:
        """What the user signs with."""
        if self.creds:
            return of_creds(self.creds)
        return of_seed(self.nkey_seed) if self.nkey_seed else None


class Nats:
    """One destination's subject. The connection is opened by the first delivery, and again after
    it broke; servers that the first one recommends are not followed."""

    label: ClassVar[str] = "NATS JetStream"
    description: ClassVar[str] = "Publish events to a stream of NATS"
    Config: ClassVar[type[BaseModel]] = NatsConfig
    Credentials: ClassVar[type[BaseModel]] = NatsCredentials
    needs: ClassVar[Needs] = Needs("nats", ("nats", "cryptography"))

    def __init__(
        self,
        destination: Destination,
        config: NatsConfig,
        credentials: NatsCredentials,
        resources: SinkResources,
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._destination = destination
        self._resources = resources
        self._troubles = Troubles(credentials)
        self._client: Client | None = None
        self._opening = asyncio.Lock()
        self._last: Exception | None = None

    @staticmethod
    def shown(config: NatsConfig) -> Shown:
        return Shown(f"{config.server} / {config.subject}")

    async def deliver(self, delivery: Delivery) -> Answer:
        """Once the stream has stored it. Within the stream's window a duplicate is stored once:
        `Nats-Msg-Id` is the same."""
        import nats.errors

        seconds = self._resources.timeout
        async with self._troubles.attempt(seconds):
            try:
                client = await self._opened()
                # A little less, so that the library's word for it comes first.
                stored = await client.jetstream(timeout=0.9 * seconds).publish(
                    self._config.subject, delivery.data, headers=self._headers(delivery.head)
                )
            except (nats.errors.Error, ssl.SSLError) as error:
                raise self._trouble(error) from error
        return Answer("OK", body=f"{stored.stream} {stored.seq}".encode())

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _opened(self) -> "Client":
        async with self._opening:
            if self._client is None or not self._client.is_connected:
                await self.aclose()
                self._client = await self._connected()
            return self._client

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        return tls_of(self._config, self._credentials)

    async def _connected(self) -> "Client":
        from event_router.consumers.sinks.nats_client import SafeClient

        host, port = host_and_port(self._config.server)
        address = await vetted_address(self._resources.resolver, host)
        credentials = self._credentials
        client = SafeClient(credentials.key)
        literal = f"[{address}]" if ":" in address else address
        self._last = None
        try:
            await client.connect(
                f"nats://{literal}:{port}",
                error_cb=self._heard,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=max(1, round(self._resources.timeout)),
                tls=self._tls,
                tls_hostname=host if self._config.tls else None,
                user=credentials.username,
                password=credentials.password,
                token=credentials.token,
            )
        except BaseException:
            await client.close()
            raise
        return client

    async def _heard(self, error: Exception) -> None:
        self._last = error

    def _headers(self, head: DeliveryHead) -> dict[str, str]:
        """What can't be a header, or would command the stream, is left out."""
        metadata = merged_metadata(self._destination.delivery_metadata, head)
        return {
            **{
                name: value
                for name, value in metadata.items()
                if _NAME.fullmatch(name) and _VALUE.fullmatch(value)
            },
            "Nats-Msg-Id": f"{self._destination.id}/{head.event}/{head.round}",
        }

    def _trouble(self, error: Exception) -> EventRouterError:
        """The library hides what went wrong with a connection: `_heard` was told."""
        import nats.errors as network
        from nats.js import errors as stream

        told = self._last
        if isinstance(error, network.NoServersError | network.TimeoutError) and told is not None:
            error = told
        if isinstance(error, OSError) and not isinstance(error, network.Error):
            return self._troubles.of_network(error)
        if isinstance(error, network.MaxPayloadError):
            return self._troubles.too_large(error)
        if isinstance(error, stream.APIError):
            if error.err_code in _TOO_LARGE:
                return self._troubles.too_large(error)
            code = "throttled" if error.err_code in _FULL else "request_refused"
            return self._troubles.unavailable(code, error)
        return self._troubles.unavailable(_code(error), error)


def _code(error: Exception) -> str:
    import nats.errors as network
    from nats.js import errors as stream

    text = str(error).lower()
    if isinstance(error, network.AuthorizationError) or "authorization" in text:
        return "authentication_failed"
    if "permissions violation" in text:
        return "permission_denied"
    if isinstance(error, stream.NoStreamResponseError | network.NoRespondersError):
        return "target_not_found"
    if isinstance(error, network.TimeoutError):
        return "timeout"
    if isinstance(error, network.UnexpectedEOF | network.ConnectionClosedError):
        return "connection_reset"
    return "network_error"
