"""The hop `publish`: an event that came over HTTP is in Kafka before it is answered.

decode → check → look for a duplicate → produce → remember the id → match. A crash anywhere in
between neither loses nor doubles: an id is remembered with its record's origin, as route does, and
only once Kafka has the record. What is matched, for the answer, is looked for meanwhile.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from event_router.consumers.deadlines import Deadlines
from event_router.consumers.ports import Directory, Duplicates, Producer, Sighting, TenantView
from event_router.router.decisions.matching import match
from event_router.router.decisions.sighting import content_hash, judge, same_content, sighting
from event_router.router.hops.operator_events import unreserved
from event_router.router.hops.shared_look import SharedLook, answer
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.decode import ANY_TOPIC, DEFAULT_SOURCE, Envelope, rfc3339
from event_router.schemas.errors import EventRouterError, InvalidValue, TooLarge, Unavailable
from event_router.schemas.event import Event
from event_router.schemas.ids import new_id
from event_router.schemas.record import Message, Place
from event_router.schemas.topics import Topics

KEY = "Idempotency-Key"
_NOWHERE = Place("", 0, 0, 0)
_Ask = Callable[[Sequence[Sighting]], Awaitable[list[bytes | None]]]


class PublishBody(Envelope, forbid_unknown_fields=True):
    """The envelope as people send it: a field that isn't known is a mistake."""


class Published(msgspec.Struct, frozen=True):
    """What became of a publish: the event's id, and where it goes as of now."""

    id: str
    duplicate: bool
    destination_ids: list[str]


class IdConflict(EventRouterError):
    """The id was used, within the window, for an event with other content."""

    def __init__(self, event_id: str) -> None:
        self.event_id = event_id
        super().__init__(f"the id {event_id} was used with other content")


class InvalidTopic(InvalidValue):
    """The topic isn't one of those that exist; `value` is None when none was given."""

    def __init__(self, topic: str | None, topics: tuple[str, ...]) -> None:
        super().__init__("topic", topic, f"one of {', '.join(topics)}")


class OutcomeUnknown(Unavailable):
    """Kafka didn't acknowledge in time: the event may be there, or not. Retry with the same id."""

    def __init__(self, event_id: str, trouble: Unavailable) -> None:
        self.event_id = event_id
        super().__init__("kafka", trouble.detail, retry_after=trouble.retry_after)


_envelope = msgspec.json.Decoder(PublishBody)


def new_event(body: bytes, topics: tuple[str, ...], now: int, key: str | None = None) -> NewEvent:
    """The event in a request's body; `topics` are those that exist (none: any), `now` in ms, `key`
    the id that came beside the body.

    Raises InvalidTopic, InvalidValue for `data` and for a key that isn't the body's id, and
    msgspec's DecodeError and ValidationError.
    What else must hold of an event is checked when its record is made.
    """
    read = _decoded(body)
    given = read.id if key is None else _same_id(key, read.id)
    return NewEvent(
        tenant=unreserved("tenant_id", read.tenant_id),
        id=new_id() if given is None else given,
        source=DEFAULT_SOURCE,
        topic=_known_topic(read.topic, topics),
        time=rfc3339(now) if read.time is None else read.time,
        data=_object(read.data),
        metadata=read.metadata or {},
        destination=read.destination_id,
        retry=read.eligible_for_retry is not False,
        partition_key=read.partition_key,
        generated_id=given is None,
    )


def _decoded(body: bytes) -> PublishBody:
    try:
        return _envelope.decode(body)
    except RecursionError:
        raise msgspec.DecodeError("nested too deep") from None


def _same_id(key: str, in_body: str | None) -> str:
    if in_body not in (None, key):
        raise InvalidValue(KEY, key, f"the id in the body ({in_body!r}): give one, or the same")
    return key


def _known_topic(topic: str | None, topics: tuple[str, ...]) -> str:
    if topic and (not topics or topic in topics or topic == ANY_TOPIC):
        return topic
    if not topic and not topics:
        return ANY_TOPIC
    raise InvalidTopic(topic or None, topics)


def _object(raw: msgspec.Raw) -> bytes:
    data = bytes(raw)
    if not data.startswith(b"{"):
        raise InvalidValue("data", data[:80].decode(errors="replace"), "a JSON object")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidValue("data", data[error.start : error.end], "UTF-8") from error
    return data


@dataclass(slots=True)
class PublishCounts:
    """What this process has published since it started."""

    accepted: int = 0
    duplicate: int = 0
    id_conflict: int = 0
    unknown: int = 0
    without_deduplication: int = 0
    without_matching: int = 0


@dataclass(slots=True)
class Publish:
    """Publishes events. `deadline` is what Kafka has to acknowledge in, `patience` what Redis and
    the registry have: without them it goes on. Both in seconds."""

    topics: Topics
    producer: Producer
    duplicates: Duplicates
    directory: Directory
    deadline: float = 10.0
    patience: float = 2.0
    counts: PublishCounts = field(default_factory=PublishCounts)
    _deadlines: Deadlines = field(default_factory=Deadlines)
    _views: SharedLook[TenantView | None] = field(init=False)

    def __post_init__(self) -> None:
        self._views = SharedLook(self._view)

    async def __call__(self, event: NewEvent) -> Published:
        """On return Kafka has acknowledged the event, or an equal one with its id.

        Raises InvalidValue, IdConflict, TooLarge, and OutcomeUnknown.
        """
        message = event_message(event, self.topics.events)
        content = None if event.generated_id else _content(event)
        view = self._views.ask(event.tenant)
        known = content is not None and await self._known(event, content)
        if not known:
            place = await self._produce(event, message)
            known = content is not None and await self._remember(event, place, content)
        if known:
            self.counts.duplicate += 1
        else:
            self.counts.accepted += 1
        return Published(event.id, known, self._matched(event, await answer(view)))

    async def _known(self, event: NewEvent, content: str) -> bool:
        """Whether the id stands for this very content already; it may stand for another."""
        mark = sighting(event.tenant, event.source, event.id, _NOWHERE, content)
        before = await self._ask(self.duplicates.look, mark)
        if before is None:
            return False
        if same_content(before, content):
            return True
        raise self._conflict(event)

    async def _remember(self, event: NewEvent, place: Place, content: str) -> bool:
        """The id stands for the record, unless one published meanwhile was first: then route
        drops ours as a duplicate, or gives it up as a conflict, and so it is answered."""
        mark = sighting(event.tenant, event.source, event.id, place, content)
        verdict = judge(mark, await self._ask(self.duplicates.claim, mark))
        if verdict == "id_conflict":
            raise self._conflict(event)
        return verdict == "duplicate"

    async def _ask(self, ask: _Ask, mark: Sighting) -> bytes | None:
        try:
            with self._deadlines.within(self.patience):
                return (await ask((mark,)))[0]
        except (Unavailable, TimeoutError):
            self.counts.without_deduplication += 1
            return None

    async def _view(self, tenant: str) -> TenantView | None:
        """The tenant's destinations as they are now; None when nobody says in time."""
        try:
            with self._deadlines.within(self.patience):
                return (await self.directory.views((tenant,)))[tenant]
        except (Unavailable, TimeoutError):
            return None

    def _matched(self, event: NewEvent, view: TenantView | None) -> list[str]:
        """The ids that it matches now. Route looks again; this is for the answer only."""
        if view is None:
            self.counts.without_matching += 1
            return []
        return [one.id for one in match(_matchable(event), view)]

    async def _produce(self, event: NewEvent, message: Message) -> Place:
        try:
            sent = (await self.producer.send((message,), self.deadline))[0]
        except Unavailable as trouble:
            self.counts.unknown += 1
            raise OutcomeUnknown(event.id, trouble) from trouble
        if isinstance(sent, TooLarge):
            raise sent
        return sent

    def _conflict(self, event: NewEvent) -> IdConflict:
        self.counts.id_conflict += 1
        return IdConflict(event.id)


def _content(event: NewEvent) -> str:
    return content_hash(event.topic, event.destination, event.metadata, event.data)


def _matchable(event: NewEvent) -> Event:
    """The event as route will see it, but for its place."""
    return Event(
        tenant=event.tenant,
        id=event.id,
        source=event.source,
        topic=event.topic,
        time=event.time,
        data=event.data,
        origin=_NOWHERE,
        metadata=event.metadata,
        destination=event.destination,
    )
