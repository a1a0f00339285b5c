"""A topic of Google Cloud Pub/Sub: the payload as the data, what is known of it as attributes."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, Field

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.fields import Fields, JsonObject, Needs, Shown, Text
from event_router.consumers.sinks.hosts import host_and_port
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.pubsub_messages import PUBLISH, messages
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, Rejected, TooLarge, Unavailable

if TYPE_CHECKING:
    from grpc.aio import AioRpcError, Channel

SERVICE = "https://pubsub.googleapis.com"
AUDIENCE = "https://pubsub.googleapis.com/"

LARGEST = 10_000_000
"""Bytes of a request, as Google's own clients have it: beyond this the service takes nothing."""

_TOKEN_SECONDS, _TOKEN_MARGIN = 3600, 300

_CODES = {
    "UNAUTHENTICATED": "authentication_failed",
    "PERMISSION_DENIED": "permission_denied",
    "NOT_FOUND": "target_not_found",
    "RESOURCE_EXHAUSTED": "throttled",
    "DEADLINE_EXCEEDED": "timeout",
    "UNAVAILABLE": "service_unavailable",
    "INTERNAL": "service_unavailable",
    "ABORTED": "service_unavailable",
}
# What gRPC says of a connection that it couldn't make, which is UNAVAILABLE, too.
_CONNECTIONS = {
    "Connection refused": "connection_refused",
    "Connection reset": "connection_reset",
    "Socket closed": "connection_reset",
    "certificate": "tls_error",
    "CERTIFICATE": "tls_error",
    "handshake": "tls_error",
    "Handshake": "tls_error",
    "SSL": "tls_error",
    "unreachable": "network_unreachable",
    "failed to connect": "network_error",
}
_TOO_LARGE = re.compile(r"larger than max|too large|exceeds the (size )?limit")


def _endpoint(text: str) -> str:
    if re.fullmatch(r"(https://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", text) is None:
        raise ValueError("https://host, or host:port of an emulator")
    if not text.startswith("https://") and re.search(r":[0-9]+$", text) is None:
        raise ValueError("https://host, or host:port of an emulator")
    return text


class GcpPubsubConfig(Fields):
    """A topic."""

    project_id: Text = Field(title="Project ID")
    topic: Text = Field(title="Topic")
    endpoint: Annotated[Text, AfterValidator(_endpoint)] | None = Field(
        None,
        title="Endpoint",
        description="Of a region, such as https://europe-west1-pubsub.googleapis.com; or of an "
        "emulator, such as localhost:8085, which gets no credentials and no TLS.",
    )


class GcpPubsubCredentials(Fields):
    """Of a service account."""

    service_account_json: JsonObject = Field(
        title="Service account key", description="The key file's JSON.", repr=False
    )


@dataclass
class _Line:
    """A channel, and how many calls are on it."""

    channel: "Channel"
    calls: int = 0


class GcpPubsub(Batched):
    """One destination's topic. The channel is opened by the first delivery, and again, to the
    addresses that the host has then, after the service was away."""

    label: ClassVar[str] = "GCP Pub/Sub"
    description: ClassVar[str] = "Send events to a topic of Google Cloud Pub/Sub"
    Config: ClassVar[type[BaseModel]] = GcpPubsubConfig
    Credentials: ClassVar[type[BaseModel]] = GcpPubsubCredentials
    needs: ClassVar[Needs] = Needs("gcp", ("grpc", "google.protobuf", "jwt", "cryptography"))
    batch: Batch = Batch(count=1000, bytes=9_000_000)

    def __init__(
        self,
        destination: Destination,
        config: GcpPubsubConfig,
        credentials: GcpPubsubCredentials,
        resources: SinkResources,
    ) -> None:
        self._topic = f"projects/{config.project_id}/topics/{config.topic}"
        self._endpoint = config.endpoint or SERVICE
        self._credentials = credentials
        self._metadata = destination.delivery_metadata
        self._resources = resources
        self._troubles = Troubles(credentials)
        self._line: _Line | None = None
        self._opening = asyncio.Lock()
        self._token, self._token_until = "", 0.0

    @staticmethod
    def shown(config: GcpPubsubConfig) -> Shown:
        return Shown(f"{config.project_id}/{config.topic}")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """In one request, which the service takes whole or not at all. When it finds fault with
        one of them, each goes in a request of its own."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._resources.timeout
        async with self._troubles.attempt(self._resources.timeout):
            try:
                return await self._published(deliveries, deadline - loop.time())
            except Rejected as refusal:
                if len(deliveries) == 1:
                    return [refusal]
            except _Refused as refusal:
                if len(deliveries) == 1:
                    return [refusal.trouble]
            return [await self._alone(one, deadline - loop.time()) for one in deliveries]

    async def aclose(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.channel.close()

    async def _alone(self, delivery: Delivery, seconds: float) -> Result:
        try:
            (answer,) = await self._published([delivery], seconds)
        except _Refused as refusal:
            return refusal.trouble
        except (Rejected, Unavailable) as trouble:
            return trouble
        return answer

    async def _published(self, deliveries: Sequence[Delivery], seconds: float) -> list[Answer]:
        """Raises _Refused for what may be the fault of one."""
        from grpc.aio import AioRpcError

        request = messages().request(topic=self._topic)
        for delivery in deliveries:
            attributes = merged_metadata(self._metadata, delivery.head)
            request.messages.add(data=delivery.data, attributes=attributes)
        if request.ByteSize() > LARGEST:
            raise self._troubles.too_large(f"Pub/Sub takes at most {LARGEST} bytes")
        headers = [("x-goog-request-params", f"topic={self._topic}"), *self._authorization()]
        async with self._lent() as line:
            publish = line.channel.unary_unary(
                PUBLISH,
                request_serializer=messages().request.SerializeToString,
                response_deserializer=messages().response.FromString,
            )
            try:
                response = await publish(request, timeout=seconds, metadata=headers)
            except AioRpcError as error:
                raise self._trouble(error) from error
        return [Answer("OK", body=name.encode()) for name in response.message_ids]

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[_Line]:
        """The channel; one that was given up is closed by the last who used it."""
        async with self._opening:
            if self._line is None:
                self._line = _Line(await self._opened())
        line = self._line
        line.calls += 1
        try:
            yield line
        finally:
            line.calls -= 1
            if line is not self._line and not line.calls:
                await line.channel.close()

    async def _opened(self) -> "Channel":
        """To vetted addresses, under the host's own name; nothing is connected yet."""
        from grpc import aio, ssl_channel_credentials

        secure = self._endpoint.startswith("https://")
        place = self._endpoint.removeprefix("https://")
        if secure and re.search(r":[0-9]+$", place) is None:
            place += ":443"
        host, port = host_and_port(place)
        target = _target(await self._resources.resolver.addresses(host), port)
        options = [
            ("grpc.default_authority", place),
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.keepalive_time_ms", 60_000),
        ]
        if not secure:
            return aio.insecure_channel(target, options)
        options.append(("grpc.ssl_target_name_override", host))
        return aio.secure_channel(target, ssl_channel_credentials(_authorities()), options)

    def _authorization(self) -> list[tuple[str, str]]:
        """A token that we sign ourselves: nobody is asked for one, wherever the key file says."""
        if not self._endpoint.startswith("https://"):
            return []
        now = self._resources.clock()
        if now > self._token_until - _TOKEN_MARGIN:
            self._token = self._signed(int(now))
            self._token_until = now + _TOKEN_SECONDS
        return [("authorization", f"Bearer {self._token}")]

    def _signed(self, now: int) -> str:
        import jwt

        key: dict[str, Any] = json.loads(self._credentials.service_account_json)
        try:
            account = str(key["client_email"])
            claims = {
                "iss": account,
                "sub": account,
                "aud": AUDIENCE,
                "iat": now,
                "exp": now + _TOKEN_SECONDS,
            }
            kid = str(key["private_key_id"])
            return jwt.encode(claims, key["private_key"], algorithm="RS256", headers={"kid": kid})
        except (KeyError, TypeError, ValueError, jwt.PyJWTError):
            detail = "service_account_json isn't the key of a service account"
            raise self._troubles.unavailable("authentication_failed", detail) from None

    def _trouble(self, error: "AioRpcError") -> "TooLarge | Unavailable | _Refused":
        status, detail = error.code().name, error.details() or ""
        if status in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED") and _TOO_LARGE.search(detail):
            return self._troubles.too_large(detail)
        trouble = self._troubles.unavailable(_code(status, detail), f"{status}: {detail}")
        if status == "UNAVAILABLE":
            self._line = None  # the host may have other addresses now
        return _Refused(trouble) if status == "INVALID_ARGUMENT" else trouble


class _Refused(Exception):
    """The service found fault with a request: with one of its messages, perhaps."""

    def __init__(self, trouble: Unavailable) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


def _code(status: str, detail: str) -> str:
    if status == "UNAVAILABLE":
        for words, code in _CONNECTIONS.items():
            if words in detail:
                return code
    return _CODES.get(status, "request_refused")


def _target(addresses: Sequence[Any], port: int) -> str:
    """As gRPC reads several addresses; those of the first one's family."""
    version = addresses[0].version
    same = [str(one) for one in addresses if one.version == version]
    literals = [one if version == 4 else f"[{one}]" for one in same]
    return f"ipv{version}:" + ",".join(f"{literal}:{port}" for literal in literals)


def _authorities() -> bytes | None:
    """Those of the system, as for every other sink; gRPC's own where it has no such file."""
    found = ssl.get_default_verify_paths().cafile
    return Path(found).read_bytes() if found else None
