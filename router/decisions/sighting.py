"""What is remembered of an id that a client chose, and what a second sight of it means. Pure."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Literal

from event_router.consumers.ports import Sighting
from event_router.schemas.event import Event
from event_router.schemas.record import Place

Verdict = Literal["new", "duplicate", "id_conflict"]


def sighting_of(event: Event) -> Sighting:
    """What route remembers: the same as the API does of the same record, see `sighting`."""
    content = content_hash(event.topic, event.destination, event.metadata, event.data)
    return sighting(event.tenant, event.source, event.id, event.origin, content)


def sighting(tenant: str, source: str, event_id: str, origin: Place, content: str) -> Sighting:
    """An id, and what was seen under it: `partition:offset:timestamp|hash of the content`."""
    place = f"{origin.partition}:{origin.offset}:{origin.timestamp}"
    return Sighting(tenant, source, event_id, f"{place}|{content}".encode())


def content_hash(
    topic: str, destination: str | None, metadata: Mapping[str, str], data: bytes
) -> str:
    """A hash of what must be the same for a second publish of an id to be a duplicate."""
    parts = [topic, destination or ""]
    parts += (part for pair in sorted(metadata.items()) for part in pair)
    digest = blake2b(len(parts).to_bytes(4, "big"), digest_size=16)
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    digest.update(data)
    return digest.hexdigest()


def judge(seen: Sighting, before: bytes | None) -> Verdict:
    """The same record again is new: it was read twice, and may not have been finished."""
    if before is None or _origin(before) == _origin(seen.value):
        return "new"
    return "duplicate" if _content(before) == _content(seen.value) else "id_conflict"


def same_content(before: bytes, content: str) -> bool:
    return _content(before) == content.encode()


def _origin(value: bytes) -> bytes:
    return value.rpartition(b"|")[0]


def _content(value: bytes) -> bytes:
    return value.rpartition(b"|")[2]
