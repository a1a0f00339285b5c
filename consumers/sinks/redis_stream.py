"""A stream of Redis or Valkey: entries with the payload as the field `data`, beside metadata.

A cluster keeps a stream on one of its nodes: whichever is asked says which, and it is asked from
then on, until it is in trouble.
"""

import ssl
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.fields import Fields, Needs, Secret, Server, Shown, Text
from event_router.consumers.sinks.hosts import host_and_port
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.redis_connection import To, client_at
from event_router.consumers.sinks.redis_node import Address, Node
from event_router.consumers.sinks.tls import (
    CA_CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Certificates,
    ClientKey,
    tls_of,
)
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, TooLarge, Unavailable

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

MOST_CONNECTIONS = 4
ALWAYS_TAKEN = 1 << 20
"""Bytes of a field that every server takes: its `proto-max-bulk-len` can't be less."""

_CODES = {
    "WRONGPASS": "authentication_failed",
    "NOAUTH": "authentication_failed",
    "NOPERM": "permission_denied",
    "WRONGTYPE": "target_not_found",
    "OOM": "throttled",
    "ASK": "service_unavailable",
    "BUSY": "service_unavailable",
    "CLUSTERDOWN": "service_unavailable",
    "LOADING": "service_unavailable",
    "MASTERDOWN": "service_unavailable",
    "MISCONF": "service_unavailable",
    "MOVED": "service_unavailable",
    "NOREPLICAS": "service_unavailable",
    "READONLY": "service_unavailable",
    "TRYAGAIN": "service_unavailable",
}
_SENTENCES = {
    "max number of clients": "throttled",
    "DB index is out of range": "target_not_found",
    "without any password configured": "authentication_failed",
}


class RedisStreamConfig(Fields):
    """A stream, made by the first delivery to it."""

    server: Server = Field(title="Server", description="host:port")
    stream: Text = Field(title="Stream", description="The stream's key.")
    tls: bool = Field(False, title="TLS")
    ca_certificate: Certificates | None = CA_CERTIFICATE
    database: int = Field(0, ge=0, title="Database")
    max_length: int | None = Field(
        None,
        ge=1,
        title="Longest",
        description="About how many entries the stream keeps; all of them without one.",
    )


class RedisStreamCredentials(Fields):
    """Of a user, or the password alone of a server that has no users."""

    username: Text | None = Field(None, title="Username", repr=False)
    password: Secret | None = Field(None, title="Password", repr=False)
    client_certificate: Certificates | None = CLIENT_CERTIFICATE
    client_key: ClientKey = CLIENT_KEY


class RedisStream(Batched):
    """One destination's stream. The client is opened by the first delivery."""

    label: ClassVar[str] = "Redis stream"
    description: ClassVar[str] = "Add events to a stream of Redis or Valkey"
    Config: ClassVar[type[BaseModel]] = RedisStreamConfig
    Credentials: ClassVar[type[BaseModel]] = RedisStreamCredentials
    needs: ClassVar[Needs] = Needs("redis", ("redis.asyncio",))
    batch: Batch = Batch(count=500, bytes=4 << 20, at_once=MOST_CONNECTIONS)

    def __init__(
        self,
        destination: Destination,
        config: RedisStreamConfig,
        credentials: RedisStreamCredentials,
        resources: SinkResources,
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._metadata = destination.delivery_metadata
        self._resources = resources
        self._troubles = Troubles(credentials)
        self._entered = Address(*host_and_port(config.server))
        self._node: Node | None = None

    @staticmethod
    def shown(config: RedisStreamConfig) -> Shown:
        return Shown(f"{config.server} / {config.stream}")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """In one pipeline, but for large ones: a server hangs up on one that is larger than it
        takes, and with it on all others. A connection that breaks is the trouble of all; it is
        tried once more, so that entries may come twice."""
        async with self._troubles.attempt(self._resources.timeout):
            together = [one for one in deliveries if not _is_large(one)]
            results = iter(await self._taken(together) if together else ())
            return [
                await self._alone(one) if _is_large(one) else next(results) for one in deliveries
            ]

    async def aclose(self) -> None:
        if self._node is not None:
            await self._node.aclose()

    async def _alone(self, delivery: Delivery) -> Result:
        try:
            (result,) = await self._taken([delivery])
        except (TooLarge, Unavailable) as trouble:
            return trouble
        return result

    async def _taken(self, deliveries: Sequence[Delivery]) -> list[Result]:
        from redis.exceptions import RedisError

        try:
            return list(map(self._result, await self._found(deliveries)))
        except RedisError as error:
            raise self._unavailable(error) from error

    async def _found(self, deliveries: Sequence[Delivery]) -> list[Any]:
        """As `_added`, on the node that has the stream."""
        from redis.exceptions import MovedError

        results = await self._added(deliveries)
        moved = isinstance(results[0], MovedError)
        return await self._added(deliveries) if moved else results

    async def _added(self, deliveries: Sequence[Delivery]) -> list[Any]:
        """An answer or an error each. Whatever goes wrong with a node that the cluster named, the
        server that people entered is asked next: it knows of a change."""
        node = self._node = self._node or self._opened(self._entered)
        try:
            async with node.used() as client:
                results: list[Any] = await self._pipeline(client, deliveries).execute(
                    raise_on_error=False
                )
        except BaseException:
            await self._go(node, self._entered)
            raise
        if isinstance(results[0], Exception):
            await self._go(node, self._next(node, results[0]))
        return results

    def _next(self, node: Node, trouble: Exception) -> Address:
        from redis.exceptions import MovedError

        return node.address.moved(trouble) if isinstance(trouble, MovedError) else self._entered

    async def _go(self, node: Node, address: Address) -> None:
        """From the node to the one at this address, unless another delivery went before."""
        if node is self._node and node.address != address:
            self._node = self._opened(address)
            await node.leave()

    def _opened(self, address: Address) -> Node:
        credentials = self._credentials
        client = client_at(
            address,
            To(self._resources.resolver, self._tls, self._troubles),
            self._resources.timeout,
            max_connections=MOST_CONNECTIONS,
            db=self._config.database,
            username=credentials.username,
            password=credentials.password,
        )
        return Node(address, client)

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        return tls_of(self._config, self._credentials)

    def _pipeline(self, client: "Redis", deliveries: Sequence[Delivery]) -> Any:
        pipeline = client.pipeline(transaction=False)
        for delivery in deliveries:
            pipeline.xadd(
                self._config.stream,
                self._entry(delivery),
                maxlen=self._config.max_length,
                approximate=True,
            )
        return pipeline

    def _entry(self, delivery: Delivery) -> Any:
        return {**merged_metadata(self._metadata, delivery.head), "data": delivery.data}

    def _result(self, result: Any) -> Result:
        if isinstance(result, Exception):
            return self._unavailable(result)
        return Answer("OK", body=result)

    def _unavailable(self, error: Exception) -> Unavailable:
        for cause in _causes(error):
            if isinstance(cause, Unavailable):
                return cause
            if isinstance(cause, OSError):
                return self._troubles.of_network(cause)
        return self._troubles.unavailable(_code(error), error)


def _is_large(delivery: Delivery) -> bool:
    return len(delivery.data) > ALWAYS_TAKEN


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: "Exception | RedisError") -> str:
    from redis import exceptions

    text = str(error)
    word = getattr(error, "status_code", None) or text.partition(" ")[0]
    if word in _CODES:
        return _CODES[word]
    for sentence, code in _SENTENCES.items():
        if sentence in text:
            return code
    if isinstance(error, exceptions.AuthenticationError):
        return "authentication_failed"
    if isinstance(error, exceptions.ResponseError):
        return "request_refused"
    return "connection_reset" if isinstance(error, exceptions.ConnectionError) else "network_error"
