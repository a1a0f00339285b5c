"""The Kafka client: what knows aiokafka, with `kafka_admin` and `kafka_records`.

A `Writer` writes batches, a `Reader` reads as a member of a group. Each raises errors of our tree
only. What to do about trouble is decided by their users: `consumers.producer` and
`consumers.subscription`.
"""

import asyncio
import math
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka import errors as kafka_errors
from aiokafka.conn import collect_hosts
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from event_router.consumers import kafka_records, log_limit
from event_router.consumers.kafka_guard import (
    GuardedId,
    Vet,
    create_conn,
    guard,
    vet_cluster,
)
from event_router.consumers.kafka_metadata import keep_learning
from event_router.consumers.pace import Pace
from event_router.consumers.watermark import Partition
from event_router.schemas.errors import EventRouterError, TooLarge, Unavailable
from event_router.schemas.record import Message, Place, Record

BATCH_BYTES = 512 * 1024
_CLIENT_ID = "event-router"
LONGEST_POLL_INTERVAL = 2**31 - 1  # ms: our watchdog looks for stalls, the client must not leave


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """How Kafka is reached. Times are in seconds unless the name says otherwise.

    `max_message_bytes` is what topics take that don't say otherwise: Kafka's own default. A writer
    asks `vet` about each broker that the cluster names; those of `bootstrap` the caller has asked
    about. `tls` stands in for the three files.
    """

    bootstrap: str = "127.0.0.1:9092"
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    idempotent: bool = True
    fetch_wait_ms: int = 500
    session_timeout: float = 10.0
    request_timeout: float = 30.0
    max_message_bytes: int = 1_048_588
    vet: Vet | None = field(default=None, repr=False, compare=False)

    def connection(self) -> dict[str, Any]:
        """What every client of aiokafka takes."""
        log_limit.limit("aiokafka", seconds=10.0)
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "client_id": GuardedId.of(_CLIENT_ID, self.vet) if self.vet else _CLIENT_ID,
            "request_timeout_ms": int(max(self.request_timeout, self.session_timeout) * 1000),
            "security_protocol": self.security.upper(),
        }
        if self.security.startswith("sasl"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        if self.security.endswith("ssl"):
            options["ssl_context"] = self._tls()
        return options

    def _tls(self) -> ssl.SSLContext:
        if self.tls:
            return self.tls
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


class OutOfRange(EventRouterError):
    """The offset a group stands at isn't there: retention took it, or the topic was recreated."""

    def __init__(self, partition: Partition, offset: int) -> None:
        self.partition = partition
        self.offset = offset
        super().__init__(f"{partition[0]}/{partition[1]}: offset {offset} is out of range")


@contextmanager
def ours(config: KafkaConfig, topic: str = "") -> Iterator[None]:
    """Foreign errors become ours."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise _translated(error, config, topic) from error
    except (OSError, kafka_errors.ConsumerStoppedError) as error:
        raise Unavailable("kafka_unreachable", f"{config.bootstrap}: {error!r}") from error


_ADVICE: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (kafka_errors.TopicAuthorizationFailedError, kafka_errors.ClusterAuthorizationFailedError),
        "kafka_unauthorized",
        "{user} may not use {topic}: grant it Read, Write and Describe",
    ),
    (
        (kafka_errors.GroupAuthorizationFailedError,),
        "kafka_unauthorized",
        "{user} may not use the consumer group: grant it Read on the group ({error})",
    ),
    (
        (kafka_errors.UnknownTopicOrPartitionError, kafka_errors.InvalidTopicError),
        "kafka_unknown_topic",
        "{topic} doesn't exist: make it, ours with `router init`",
    ),
    (
        (
            kafka_errors.AuthenticationFailedError,
            kafka_errors.AuthenticationMethodNotSupported,
            kafka_errors.SaslAuthenticationFailed,
            kafka_errors.UnsupportedSaslMechanismError,
        ),
        "kafka_authentication",
        "{bootstrap} refuses {user}: check user, password and SASL mechanism ({error})",
    ),
    (
        (
            kafka_errors.CommitFailedError,
            kafka_errors.IllegalStateError,
            kafka_errors.IllegalOperation,
        ),
        "kafka_rebalanced",
        "the group has moved on ({error})",
    ),
    (
        (kafka_errors.KafkaConnectionError, kafka_errors.NodeNotReadyError),
        "kafka_unreachable",
        "no broker answers at {bootstrap}: check that it runs and the address ({error})",
    ),
)
_TOO_LARGE = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.RecordTooLargeError,
)


def _translated(
    error: kafka_errors.KafkaError, config: KafkaConfig, topic: str
) -> EventRouterError:
    if isinstance(error, _TOO_LARGE):
        return TooLarge(f"the broker refuses it for its size on topic {topic}")
    for types, code, advice in _ADVICE:
        if isinstance(error, types):
            detail = advice.format(
                user=f"user {config.username!r}" if config.username else "the client",
                topic=f"topic {topic!r}" if topic else "the topic",
                bootstrap=config.bootstrap,
                error=error,
            )
            return Unavailable(code, detail)
    return Unavailable("kafka_error", str(error))


async def _log_in(config: KafkaConfig) -> None:
    """aiokafka keeps to itself why no broker let it in: this asks once more, and raises that."""
    host, port, _ = collect_hosts(config.bootstrap, randomize=False)[0]
    connection = await _connection(config, host, port)
    connection.close()


async def _connection(config: KafkaConfig, host: str, port: int) -> Any:
    options = config.connection()
    del options["bootstrap_servers"]
    return await create_conn(host, port, **options)


async def _connect(config: KafkaConfig) -> Any:
    """To one of the configured brokers; None when none answers."""
    for host, port, _ in collect_hosts(config.bootstrap):
        with suppress(kafka_errors.KafkaError, OSError, TimeoutError):
            return await _connection(config, host, port)
    return None


def wire_size(message: Message) -> int:
    """An upper bound of what the message takes as a batch of one."""
    return int(
        DefaultRecordBatchBuilder.estimate_size_in_bytes(
            message.key, message.value, _header_list(message)
        )
    )


def _header_list(message: Message) -> list[tuple[str, bytes | None]]:
    headers = message.headers
    return headers if isinstance(headers, list) else list(headers)


class Writer:
    """Writes batches, acknowledged by all in-sync replicas; several at once, to any partitions.

    After a write that failed it must be closed and another one opened: the idempotent producer
    counts batches per partition, and a batch that failed leaves a gap after which the broker
    refuses all others.
    """

    def __init__(self, config: KafkaConfig, producer: AIOKafkaProducer) -> None:
        self._config = config
        self._producer = producer
        self._asked_for_leaders = -math.inf

    @classmethod
    async def open(cls, config: KafkaConfig, batch_bytes: int = BATCH_BYTES) -> "Writer":
        """Raises Unavailable when no broker answers."""
        with ours(config):
            producer = AIOKafkaProducer(
                **config.connection(),
                acks="all",
                enable_idempotence=config.idempotent,
                linger_ms=0,
                max_batch_size=batch_bytes,
            )
            keep_learning(producer.client, lambda: _connect(config))
            if config.vet:
                guard(producer.client, config.vet)
            try:
                await producer.start()
                if config.vet:
                    await vet_cluster(producer.client, config.vet)
            except kafka_errors.KafkaConnectionError:
                await producer.stop()
                await _log_in(config)
                raise
            except BaseException:
                await producer.stop()
                raise
        return cls(config, producer)

    async def partitions(self, topic: str) -> int:
        """How many the topic has. Raises Unavailable when there is no such topic."""
        known: set[int] | None = self._producer.client.cluster.partitions_for_topic(topic)
        if known is not None:
            return len(known)
        with ours(self._config, topic):
            try:
                async with asyncio.timeout(METADATA_PATIENCE):
                    return len(await self._producer.partitions_for(topic))
            except TimeoutError:
                raise kafka_errors.UnknownTopicOrPartitionError from None

    def led(self, topic: str) -> list[int]:
        """The partitions that have a leader, as far as is known."""
        return sorted(self._producer.client.cluster.available_partitions_for_topic(topic) or ())

    async def write(self, topic: str, partition: int, messages: Sequence[Message]) -> list[Place]:
        """Writes as many as fit into one batch, from the first on; returns the places of these.

        Raises TooLarge when the broker refuses the batch for its size, Unavailable for anything
        else; it may have been written all the same, but for the codes in NOTHING_SENT.
        """
        known = await self.partitions(topic)
        if partition >= known:
            await self._producer.client.force_metadata_update()
            raise Unavailable(
                "kafka_unknown_partition",
                f"topic {topic!r} has {known} partitions, and a message is for {partition}",
            )
        self._require_leader(topic, partition)
        now = time.time_ns() // 1_000_000
        with ours(self._config, topic):
            batch = self._batch(messages, now)
            acknowledged = await self._producer.send_batch(batch, topic, partition=partition)
            first = await acknowledged
        if first.offset < 0:  # acknowledged as a duplicate, and nobody remembers where it lies
            raise Unavailable("kafka_place_unknown", f"topic {topic!r}")
        written = first.timestamp if first.timestamp != -1 else now
        return [
            Place(topic, partition, offset, written)
            for offset in range(first.offset, first.offset + batch.record_count())
        ]

    def _require_leader(self, topic: str, partition: int) -> None:
        place = TopicPartition(topic, partition)
        if self._producer.client.cluster.leader_for_partition(place) != _NOBODY:
            return
        now = time.monotonic()
        if now >= self._asked_for_leaders + LEADER_PAUSE:
            self._asked_for_leaders = now
            self._producer.client.force_metadata_update()
        raise Unavailable(
            "kafka_no_leader",
            f"{topic}/{partition} has no leader: check that all brokers run",
        )

    def _batch(self, messages: Sequence[Message], now: int) -> Any:
        batch = self._producer.create_batch()
        for message in messages:
            fits = batch.append(
                timestamp=now, key=message.key, value=message.value, headers=_header_list(message)
            )
            if fits is None:
                break
        batch.close()  # or it waits for more
        return batch

    async def close(self, grace: float) -> None:
        """Waits `grace` seconds for batches in flight; the writes of others then raise."""
        try:
            async with asyncio.timeout(grace):
                await self._producer.stop()
        except (TimeoutError, kafka_errors.KafkaError):
            await self._abort()

    async def _abort(self) -> None:
        # stop() waits for batches that may never be answered, and has no other way to give up.
        # In this order: requests in flight put their batches back when the client closes.
        producer = self._producer
        await producer.client.close()
        with suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(1.0):
                await producer._sender.close()  # noqa: SLF001  see above
        batches = producer._message_accumulator  # noqa: SLF001  see above
        waiting = chain(batches._pending_batches, *batches._batches.values())  # noqa: SLF001  see above
        for batch in list(waiting):
            if not batch.future.done():
                batch.future.set_exception(kafka_errors.ProducerClosed())
                batch.future.exception()  # whoever waited for it may have given it up


LEAVE_PATIENCE = 5.0  # seconds
METADATA_PATIENCE = 3.0  # seconds until a topic that isn't found counts as unknown
LEADER_PAUSE = 0.5  # seconds between questions whether there is a leader by now
NOTHING_SENT = frozenset({"kafka_unknown_topic", "kafka_unknown_partition", "kafka_no_leader"})
_NOBODY = -1

Moved = Callable[[frozenset[Partition]], Awaitable[None]]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, assigned: Moved, revoked: Moved) -> None:
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        if revoked:
            await self._revoked(frozenset(tuple(partition) for partition in revoked))

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._assigned(frozenset(tuple(partition) for partition in assigned))


def group_consumer(config: KafkaConfig, group: str, rebalance_timeout: float) -> AIOKafkaConsumer:
    """aiokafka's consumer as a member of `group`. It commits nothing by itself, and asks what to
    do about a partition without a commit (`lost_place`)."""
    kafka_records.read_odd_headers()
    consumer = AIOKafkaConsumer(
        **config.connection(),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_wait_ms=config.fetch_wait_ms,
        session_timeout_ms=int(config.session_timeout * 1000),
        heartbeat_interval_ms=int(min(3.0, max(0.1, config.session_timeout / 10)) * 1000),
        rebalance_timeout_ms=int(rebalance_timeout * 1000),
        max_poll_interval_ms=LONGEST_POLL_INTERVAL,
    )
    keep_learning(
        consumer._client,  # noqa: SLF001  there is no public way to its client
        lambda: _connect(config),
    )
    return consumer


def pace_fetches(consumer: AIOKafkaConsumer, pace: Pace, found: Callable[[], None]) -> None:
    """From now on each fetch is sent no sooner than a pause after the last one brought something.
    `found` is called as soon as one has: the client's own way of telling takes longer.

    The pause comes before the fetch, since aiokafka fetches nothing more from a node while records
    of its last answer wait to be taken. `_proc_fetch_request` is pinned by tests/faust/.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  there is no public way to pause before a fetch
    fetch = fetcher._proc_fetch_request  # noqa: SLF001  it is pinned

    async def paced(assignment: Any, node_id: Any, request: Any) -> bool:
        pause = pace.pause(time.monotonic())
        if pause:
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                return False  # as `fetch` itself: nobody wants the answer any more
        brought = bool(await fetch(assignment, node_id, request))
        if brought:
            found()
        return brought

    fetcher._proc_fetch_request = paced  # noqa: SLF001  it is pinned


class Membership:
    """Until when the group can't have given a member's partitions to others behind its back.

    A broker waits for the session's timeout after each heartbeat, so that is how long one holds
    that was answered, counted from when it was sent. `_do_heartbeat` is pinned by tests/faust/.
    """

    def __init__(self, consumer: AIOKafkaConsumer, session_timeout: float) -> None:
        """The consumer was started."""
        self._until = -math.inf
        self._session_timeout = session_timeout
        coordinator = consumer._coordinator  # noqa: SLF001  there is no public way to know
        self._beat = coordinator._do_heartbeat  # noqa: SLF001  it is pinned
        coordinator._do_heartbeat = self._do_heartbeat  # noqa: SLF001  it is pinned

    @property
    def is_sure(self) -> bool:
        return time.monotonic() < self._until

    async def _do_heartbeat(self) -> bool:
        sent = time.monotonic()
        answered = bool(await self._beat())
        self._until = sent + self._session_timeout if answered else -math.inf
        return answered


def lost_place(cause: BaseException | None) -> tuple[Partition, int | None] | None:
    """The partition that has nothing at the offset (None: without a commit) where it is to be
    read, when that is what `cause` says."""
    if isinstance(cause, kafka_errors.NoOffsetForPartitionError):
        return tuple(cause.args[0]), None
    if isinstance(cause, kafka_errors.OffsetOutOfRangeError):
        ((partition, offset),) = cause.args[0].items()
        return tuple(partition), offset
    return None


def _nobody() -> None:
    """Who polls is woken by the poll."""


class Reader:
    """A member of a consumer group. It commits nothing by itself.

    `revoked` is awaited before the group moves on, for at most `rebalance_timeout` seconds, and
    nothing is handed out meanwhile; `assigned` before the first record of the new assignment.
    A group without a commit begins at the earliest record.
    """

    def __init__(
        self,
        config: KafkaConfig,
        topics: Collection[str],
        group: str,
        *,
        assigned: Moved,
        revoked: Moved,
        rebalance_timeout: float,
        pace: Pace,
    ) -> None:
        self._config = config
        self._topics = sorted(topics)
        self._pace = pace
        self._consumer = group_consumer(config, group, rebalance_timeout)
        self._listener = _Listener(assigned, revoked)
        self._membership: Membership | None = None

    @property
    def is_member(self) -> bool:
        """Whether nobody else can have what is assigned, by the last heartbeat."""
        return self._membership is not None and self._membership.is_sure

    async def start(self) -> None:
        """Joins the group; assignments come later. Raises Unavailable when no broker answers."""
        with ours(self._config):
            await self._consumer.start()
            self._membership = Membership(self._consumer, self._config.session_timeout)
            pace_fetches(self._consumer, self._pace, _nobody)
            # Not before: start() would wait for topics that aren't there.
            self._consumer.subscribe(self._topics, listener=self._listener)

    async def poll(self, seconds: float, max_records: int) -> dict[Partition, list[Record]]:
        """What was fetched of all partitions, after at most `seconds` without any.

        Raises OutOfRange; Unavailable, after which partitions may have been read without being
        returned, so go back with `seek`.
        """
        try:
            with ours(self._config):
                fetched = await self._consumer.getmany(
                    timeout_ms=int(seconds * 1000), max_records=max_records
                )
        except Unavailable as trouble:
            if not await self._mended(trouble.__cause__):
                raise
            return {}
        if fetched:
            self._pace.polled(time.monotonic(), sum(map(len, fetched.values())))
        return {tuple(place): list(map(record_of, records)) for place, records in fetched.items()}

    async def _mended(self, cause: BaseException | None) -> bool:
        lost = lost_place(cause)
        if lost is None:
            return False
        partition, offset = lost
        if offset is not None:
            raise OutOfRange(partition, offset) from cause
        await self.rewind({partition: None})
        return True

    async def rewind(self, places: Mapping[Partition, int | None]) -> None:
        """Reads on from these offsets; None = from the commit, or the earliest record."""
        with ours(self._config):
            for partition, offset in places.items():
                place = TopicPartition(*partition)
                if offset is None:
                    offset = await self._consumer.committed(place)
                if offset is None:
                    await self._consumer.seek_to_beginning(place)
                else:
                    self._consumer.seek(place, offset)

    async def commit(self, positions: Mapping[Partition, int], seconds: float) -> None:
        """Raises Unavailable when it isn't taken within `seconds`."""
        offsets = {TopicPartition(*partition): at for partition, at in positions.items()}
        with ours(self._config):
            try:
                async with asyncio.timeout(seconds):
                    await self._consumer.commit(offsets)
            except TimeoutError:
                raise kafka_errors.RequestTimedOutError from None

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Those that aren't assigned any more are left out, here and in `resume`."""
        self._consumer.pause(*self._assigned(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._consumer.resume(*self._assigned(partitions))

    def _assigned(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        mine = self._consumer.assignment()
        return [TopicPartition(*partition) for partition in partitions if partition in mine]

    def end(self, partition: Partition) -> int | None:
        """The end of the partition as of the last fetch; None before the first one."""
        for place in self._assigned([partition]):
            stable = self._consumer.last_stable_offset(place)
            end = self._consumer.highwater(place) if stable is None or stable < 0 else stable
            return None if end is None else int(end)
        return None

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The end of each as the brokers tell it now. Raises Unavailable."""
        places = [TopicPartition(*partition) for partition in partitions]
        with ours(self._config):
            ends = await self._consumer.end_offsets(places) if places else {}
        return {tuple(place): int(end) for place, end in ends.items()}

    async def position(self, partition: Partition) -> int:
        """The offset that is read next. Raises Unavailable when it isn't assigned."""
        with ours(self._config):
            return int(await self._consumer.position(TopicPartition(*partition)))

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """The offset of the earliest record, and the end."""
        place = TopicPartition(*partition)
        with ours(self._config, partition[0]):
            begin = await self._consumer.beginning_offsets([place])
            end = await self._consumer.end_offsets([place])
        return int(begin[place]), int(end[place])

    async def check(self) -> None:
        """Raises Unavailable when no broker answers, or a topic isn't there."""
        if not await self._consumer._client.force_metadata_update():  # noqa: SLF001  no other probe
            raise _translated(kafka_errors.NodeNotReadyError(), self._config, "")
        for topic in self._topics:
            if not self._consumer.partitions_for_topic(topic):
                raise _translated(kafka_errors.UnknownTopicOrPartitionError(), self._config, topic)

    async def stop(self) -> None:
        """Leaves the group; when no broker answers, the session runs out instead."""
        with suppress(kafka_errors.KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(LEAVE_PATIENCE):
                await self._consumer.stop()


def record_of(record: ConsumerRecord) -> Record:
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        record.headers,
    )
