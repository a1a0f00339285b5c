"""An event: what a producer published, as every hop sees it."""

import msgspec

from event_router.schemas.record import Place


class Event(msgspec.Struct, frozen=True, gc=False):
    """One accepted event. `data` is the payload byte for byte: nobody parses or re-encodes it.

    `time` is RFC 3339. `deduplicate` says whether the id came from a client, and so counts
    against a second publish; ids that the router made never repeat. `updates` is the id of the
    event that this one changes: its data are the fields that have changed.
    """

    tenant: str
    id: str
    source: str
    topic: str
    time: str
    data: bytes
    origin: Place
    content_type: str = "application/json"
    metadata: dict[str, str] = {}
    destination: str | None = None
    retry: bool = True
    partition_key: str | None = None
    deduplicate: bool = False
    updates: str | None = None
