"""How webhooks look: the names of our headers, and what is signed with which key.

mode      id           timestamp       signature                 signed
standard  webhook-id   unix seconds    v1,<base64> v1,<base64>   {id}.{timestamp}.{body}
outpost   x-outpost-   RFC 3339, UTC,  v0=<hex>,<hex>            {body}
          event-id     whole seconds
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from event_router.consumers.signing import body_signature, key_of, signature, text_key_of
from event_router.schemas.errors import InvalidValue

Mode = Literal["standard", "outpost"]

_RESERVED = {
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
}
_RESERVED_PREFIX = "proxy-"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

PREFIXES: dict[Mode, str] = {"standard": "webhook-", "outpost": "x-outpost-"}


class HeaderNames(NamedTuple):
    """Of our headers, prefix not included; in small letters."""

    id: str = "id"
    timestamp: str = "timestamp"
    signature: str = "signature"
    topic: str = "topic"


NAMES: dict[Mode, HeaderNames] = {
    "standard": HeaderNames(),
    "outpost": HeaderNames(id="event-id"),
}


@dataclass(frozen=True, slots=True)
class WebhookStyle:
    """`prefix` is that of every header of ours, metadata included; in small letters."""

    mode: Mode = "standard"
    prefix: str = PREFIXES["standard"]
    names: HeaderNames = NAMES["standard"]

    @classmethod
    def of(
        cls, mode: Mode, prefix: str = "", names: Mapping[str, str] | None = None
    ) -> "WebhookStyle":
        """Without a prefix: the mode's own; and so with names that aren't given. Raises
        InvalidValue when two have one name, or one that frames the request."""
        style = cls(mode, prefix.lower() or PREFIXES[mode], NAMES[mode]._replace(**(names or {})))
        for name in style.names:
            if len(style.own_names) < len(style.names) or is_reserved(style.prefix + name):
                raise InvalidValue("names", style.prefix + name, "headers of their own, not HTTP's")
        return style

    @property
    def own_names(self) -> frozenset[str]:
        """What metadata can't be called, prefix not included."""
        return frozenset(self.names)

    def key_of(self, secret: str) -> bytes:
        """The key that signs. Raises InvalidValue, which doesn't show the secret."""
        return key_of(secret) if self.mode == "standard" else text_key_of(secret)

    def headers(
        self, message_id: str, topic: str, now: float, keys: Iterable[bytes], body: bytes
    ) -> list[tuple[str, str]]:
        """Of one attempt at `now` (seconds since the epoch); the current key comes first."""
        if self.mode == "standard":
            timestamp = str(int(now))
            signed = signature(keys, message_id, int(now), body)
        else:
            timestamp = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            signed = body_signature(keys, body)
        prefix, names = self.prefix, self.names
        return [
            (prefix + names.id, message_id),
            (prefix + names.timestamp, timestamp),
            (prefix + names.signature, signed),
            (prefix + names.topic, topic),
        ]


def is_reserved(name: str) -> bool:
    """Whether a header of that name, in small letters, is for framing and for us."""
    return name in _RESERVED or name.startswith(_RESERVED_PREFIX)


def read_names(parts: Iterable[str]) -> dict[str, str]:
    """`id=event-id`, and so on, for WebhookStyle.of. Raises InvalidValue for what can't be."""
    names = {}
    for part in parts:
        which, _, name = part.partition("=")
        if which not in HeaderNames._fields or _NAME.fullmatch(name.lower()) is None:
            like = f"{'|'.join(HeaderNames._fields)}=a-name, of letters, digits, - and _"
            raise InvalidValue("names", part, like)
        names[which] = name.lower()
    return names


STANDARD = WebhookStyle()
OUTPOST = WebhookStyle.of("outpost")
