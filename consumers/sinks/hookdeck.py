"""A source of Hookdeck's Event Gateway: a POST of the payload, signed with the source's key."""

import base64
import binascii
import hashlib
import hmac
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, Field, field_validator

from event_router.consumers.http1.target import target_of
from event_router.consumers.sinks.fields import Fields, Secret, Shown
from event_router.consumers.sinks.http_service import HttpService
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.trouble import Troubles
from event_router.consumers.sinks.webhook import USER_AGENT, sendable_headers
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer
from event_router.schemas.ids import checked_id

PREFIX = "x-outpost-"
"""Of the headers that carry metadata, as in Outpost."""


class Token(NamedTuple):
    """What a source's token says: where it is, and the key that signs."""

    source: str
    key: str


def read_token(token: str) -> Token:
    """Base64 of `source id:key`. Raises ValueError, which doesn't show the token."""
    try:
        text = base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    source, _, key = text.partition(":")
    if not (source and key):
        raise ValueError("a token as Hookdeck shows it for a source")
    return Token(checked_id("token", source), key)


class HookdeckConfig(Fields):
    """The token says it all."""


class HookdeckCredentials(Fields):
    """Of a source."""

    token: Secret = Field(title="Token", description="Token of a Hookdeck source.", repr=False)

    @field_validator("token")
    @classmethod
    def _names_a_source(cls, token: str) -> str:
        read_token(token)
        return token


class Hookdeck:
    """A source of Hookdeck's Event Gateway."""

    label: ClassVar[str] = "Hookdeck Event Gateway"
    description: ClassVar[str] = "Send events to a source of Hookdeck's Event Gateway"
    Config: ClassVar[type[BaseModel]] = HookdeckConfig
    Credentials: ClassVar[type[BaseModel]] = HookdeckCredentials

    def __init__(
        self,
        destination: Destination,
        config: HookdeckConfig,  # noqa: ARG002  every sink is made with one
        credentials: HookdeckCredentials,
        resources: SinkResources,
    ) -> None:
        source, key = read_token(credentials.token)
        self._key = key.encode()
        self._fixed = destination.delivery_metadata
        target = target_of(self.url_of(source), [("user-agent", USER_AGENT)])
        pool = (destination.key, destination.version)
        self._service = HttpService(target, pool, resources, Troubles(credentials))

    @staticmethod
    def shown(_: HookdeckConfig) -> Shown:
        return Shown("Hookdeck", "https://dashboard.hookdeck.com")

    @staticmethod
    def url_of(source: str) -> str:
        return f"https://events.hookdeck.com/e/{source}"

    async def deliver(self, delivery: Delivery) -> Answer:
        signed = hmac.digest(self._key, delivery.data, hashlib.sha256)
        metadata = merged_metadata(self._fixed, delivery.head)
        headers = [
            ("x-hookdeck-signature", base64.b64encode(signed).decode()),
            *sendable_headers(PREFIX, metadata),
        ]
        return await self._service.post(headers, delivery.data)

    async def aclose(self) -> None:
        self._service.aclose()
