"""Webhooks: a POST of the payload, signed as the WebhookStyle says.

2xx is success, and nothing else is; redirects aren't followed.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import ClassVar
from urllib.parse import quote

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from event_router.consumers.http1.connection import HttpAnswer
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import target_of
from event_router.consumers.http1.tls_contexts import TlsMaterial
from event_router.consumers.sinks.fields import KEY_VALUE_MAP, Fields, Shown
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.tls import CA_CERTIFICATE, Certificates
from event_router.consumers.sinks.webhook_credentials import (
    Keys,
    WebhookCredentials,
    merge_credentials,
)
from event_router.consumers.sinks.webhook_style import WebhookStyle, is_reserved
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, InvalidValue, Rejected, Unavailable

USER_AGENT = f"event-router/{version('event-router')}"
MAX_CUSTOM_HEADERS = 4096

# Headers of the framing, of the connection and of the signature: nobody but us sets them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # no dot or tilde: proxies drop such headers
_VALUE = re.compile(r"[^\x00-\x20\x7f]([^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?")
_PLAIN = re.compile(r"[!-$&-~]+")  # what a header can carry as it is, without `%`
_PLAIN_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")
_SECONDS = re.compile(r"[0-9]{1,9}")
_WITH_RETRY_AFTER = (429, 503)
_HEADERS = TypeAdapter(dict[str, str])


class WebhookConfig(Fields):
    """Where to, and headers to add: a JSON object of strings, as text."""

    url: str = Field(title="URL", description="Where the requests go: https://…")
    custom_headers: str | None = Field(
        None,
        title="Custom headers",
        description="Headers that every request carries.",
        json_schema_extra=KEY_VALUE_MAP,
    )
    ca_certificate: Certificates | None = CA_CERTIFICATE

    @field_validator("url")
    @classmethod
    def _can_be_sent_to(cls, url: str) -> str:
        try:
            target_of(url)
        except Rejected as error:
            raise ValueError(f"an http or https URL ({error.detail})") from error
        return url

    @field_validator("custom_headers")
    @classmethod
    def _may_be_sent(cls, text: str | None, info: ValidationInfo) -> str | None:
        headers = _parsed_headers(text)
        style = info.context
        if isinstance(style, WebhookStyle):
            for name in headers.keys() - _without(style.prefix, headers).keys():
                raise ValueError(_not_theirs(name))
        return text


class WebhookSink:
    """One destination's webhook."""

    label: ClassVar[str] = "Webhook"
    description: ClassVar[str] = "Send events as HTTP requests, signed, to a URL"
    Config: ClassVar[type[BaseModel]] = WebhookConfig
    Credentials: ClassVar[type[BaseModel]] = WebhookCredentials
    merge_credentials = staticmethod(merge_credentials)

    def __init__(
        self,
        destination: Destination,
        config: WebhookConfig,
        credentials: WebhookCredentials,
        resources: SinkResources,
    ) -> None:
        self._style = resources.webhooks
        custom = _without(self._style.prefix, _parsed_headers(config.custom_headers))
        headers = [("user-agent", USER_AGENT), *custom.items()]
        self._target = target_of(config.url, headers, _material(config, credentials))
        self._pool = (destination.key, destination.version)
        self._metadata = _small_names(destination.delivery_metadata or {})
        self._own_names = self._style.own_names
        self._keys = Keys(credentials, self._style)
        self._sender: Sender = resources.sender
        self._timeout = resources.timeout
        self._clock = resources.clock

    @staticmethod
    def check_together(config: WebhookConfig, credentials: WebhookCredentials) -> None:
        """Nobody is to believe that there is TLS where there is none."""
        if _material(config, credentials) and not target_of(config.url).endpoint.tls:
            expected = "an https URL, as client_certificate and ca_certificate are for"
            raise InvalidValue("config.url", config.url, expected)

    @staticmethod
    def shown(config: WebhookConfig) -> Shown:
        return Shown(config.url, config.url)

    async def deliver(self, delivery: Delivery) -> Answer:
        now = self._clock()
        answer = await self._sender.post(
            self._target,
            self._headers(delivery, now),
            delivery.data,
            pool=self._pool,
            deadline=asyncio.get_running_loop().time() + self._timeout,
        )
        return _taken(answer, now)

    async def aclose(self) -> None:
        self._sender.close_pool(self._pool)

    def _headers(self, delivery: Delivery, now: float) -> list[tuple[str, str]]:
        """Metadata never is, and never replaces, a header of the system, the signature or the
        framing; an event's own win over its destination's."""
        head = delivery.head
        headers = [("content-type", _content_type(head.content_type))]
        headers += self._style.headers(
            _header_text(head.event),
            _header_text(head.topic),
            now,
            self._keys.at(now),
            delivery.data,
        )
        if self._metadata or head.metadata:
            headers += self._metadata_headers(head.metadata)
        return headers

    def _metadata_headers(self, own: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """What can't be a header, or would be one of ours, is left out."""
        for key, value in {**self._metadata, **_small_names(own)}.items():
            name = self._style.prefix + key
            sendable = _NAME.fullmatch(key) and _VALUE.fullmatch(value)
            if sendable and key not in self._own_names and not is_reserved(name):
                yield name, value


def _material(config: WebhookConfig, credentials: WebhookCredentials) -> TlsMaterial | None:
    given = (config.ca_certificate, credentials.client_certificate, credentials.client_key)
    return TlsMaterial(*given) if any(given) else None


def _taken(answer: HttpAnswer, now: float) -> Answer:
    """What a 2xx said; any other status raises Unavailable with the status as its code."""
    result = Answer(str(answer.status), answer.status, answer.body)
    if 200 <= answer.status < 300:
        return result
    retry_after = None
    if answer.status in _WITH_RETRY_AFTER:
        retry_after = seconds_to_wait(answer.header(b"retry-after"), now)
    raise Unavailable(result.code, retry_after=retry_after, answer=result)


def seconds_to_wait(retry_after: bytes | None, now: float) -> float | None:
    """What `Retry-After` asks for, as seconds or as a date; None when it can't be read."""
    text = (retry_after or b"").decode("latin-1").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def sendable_headers(prefix: str, metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Of a service that isn't signed to as webhooks are: `content-type` stands alone, the event's
    own names are percent-encoded, and what can't be a header is left out.

    In `metadata` what is the system's has small letters: nothing that differs in them replaces it.
    """
    texts = {
        name: value
        for key, value in metadata.items()
        if (name := key.lower()) == key or name not in metadata
    }
    headers = [("content-type", _content_type(texts.pop("content-type")))]
    for key, value in texts.items():
        name = prefix + key
        text = _header_text(value) if key in ("event-id", "topic") else value
        if _NAME.fullmatch(key) and _VALUE.fullmatch(text) and not is_reserved(name):
            headers.append((name, text))
    return headers


def _header_text(text: str) -> str:
    """`text` as a header can carry it: percent-encoded (UTF-8) where it must be."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe=_PLAIN_SAFE, errors="replace")


def _content_type(text: str) -> str:
    return text if _VALUE.fullmatch(text) else "application/octet-stream"


def _small_names(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in metadata.items()}


def _without(prefix: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that were entered while ours had another prefix mustn't become ours."""
    return {name: value for name, value in headers.items() if not name.lower().startswith(prefix)}


def _not_theirs(name: str) -> str:
    return f"without {name!r}, which is the router's to set"


def _parsed_headers(text: str | None) -> dict[str, str]:
    """`custom_headers`; raises ValueError that says what would be right."""
    if not text:
        return {}
    try:
        headers = _HEADERS.validate_json(text)
    except ValidationError as error:
        raise ValueError("a JSON object of strings, as text") from error
    for name, value in headers.items():
        _check_header(name, value)
    if len(text) > MAX_CUSTOM_HEADERS:
        raise ValueError(f"at most {MAX_CUSTOM_HEADERS} characters long")
    return headers


def _check_header(name: str, value: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"without {name!r}: a header's name has letters, digits, - and _")
    if is_reserved(name.lower()):
        raise ValueError(_not_theirs(name))
    if _VALUE.fullmatch(value) is None:
        raise ValueError(f"right in {name!r}: a header's value is text without control characters")
