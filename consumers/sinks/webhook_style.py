"""How webhooks look: the names of our headers, and what is signed with which key.

mode      id           timestamp       signature                 signed
standard  webhook-id   unix seconds    v1,<base64> v1,<base64>   {id}.{timestamp}.{body}
outpost   x-outpost-   RFC 3339, UTC,  v0=<hex>,<hex>            {body}
          event-id     whole seconds
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from event_router.consumers.signing import body_signature, key_of, signature, text_key_of

Mode = Literal["standard", "outpost"]

PREFIXES: dict[Mode, str] = {"standard": "webhook-", "outpost": "x-outpost-"}
_IDS: dict[Mode, str] = {"standard": "id", "outpost": "event-id"}


@dataclass(frozen=True, slots=True)
class WebhookStyle:
    """`prefix` is that of every header of ours, metadata included; in small letters."""

    mode: Mode = "standard"
    prefix: str = PREFIXES["standard"]

    @classmethod
    def of(cls, mode: Mode, prefix: str = "") -> "WebhookStyle":
        """Without a prefix: the mode's own."""
        return cls(mode, prefix.lower() or PREFIXES[mode])

    @property
    def own_names(self) -> frozenset[str]:
        """What metadata can't be called, prefix not included."""
        return frozenset({_IDS[self.mode], "timestamp", "signature", "topic"})

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
        prefix = self.prefix
        return [
            (prefix + _IDS[self.mode], message_id),
            (prefix + "timestamp", timestamp),
            (prefix + "signature", signed),
            (prefix + "topic", topic),
        ]


STANDARD = WebhookStyle()
OUTPOST = WebhookStyle.of("outpost")
