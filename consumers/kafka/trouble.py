"""Errors of aiokafka as ours, with what to do about them."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors as kafka_errors

from event_router.consumers.kafka.config import KafkaConfig
from event_router.consumers.watermark import Partition
from event_router.schemas.errors import EventRouterError, TooLarge, Unavailable

NOTHING_SENT = frozenset({"kafka_unknown_topic", "kafka_unknown_partition", "kafka_no_leader"})


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
        raise translated(error, config, topic) from error
    except (OSError, kafka_errors.ConsumerStoppedError) as error:
        raise Unavailable("kafka_unreachable", f"{config.bootstrap}: {error!r}") from error


_ADVICE: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (kafka_errors.TopicAuthorizationFailedError, kafka_errors.ClusterAuthorizationFailedError),
        "kafka_unauthorized",
        "{user} may not use {topic}: grant it {rights}",
    ),
    (
        (kafka_errors.GroupAuthorizationFailedError,),
        "kafka_unauthorized",
        "{user} may not use the consumer group: grant it Read on the group ({error})",
    ),
    (
        (kafka_errors.UnknownTopicOrPartitionError, kafka_errors.InvalidTopicError),
        "kafka_unknown_topic",
        "{topic} doesn't exist: make it{init}",
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
_OURS = {"rights": "Read, Write and Describe", "init": ", ours with `router init`"}
_OTHERS = {"rights": "Write and Describe", "init": ""}
"""Of a destination's cluster, which its own people read of."""

_TOO_LARGE = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.RecordTooLargeError,
)


def translated(error: kafka_errors.KafkaError, config: KafkaConfig, topic: str) -> EventRouterError:
    if isinstance(error, _TOO_LARGE):
        return TooLarge(f"the broker refuses it for its size on topic {topic}")
    for types, code, advice in _ADVICE:
        if isinstance(error, types):
            detail = advice.format(
                user=f"user {config.username!r}" if config.username else "the client",
                topic=f"topic {topic!r}" if topic else "the topic",
                bootstrap=config.bootstrap,
                error=error,
                **(_OTHERS if config.vet else _OURS),
            )
            return Unavailable(code, detail)
    return Unavailable("kafka_error", str(error))


def lost_place(cause: BaseException | None) -> tuple[Partition, int | None] | None:
    """The partition that has nothing at the offset (None: without a commit) where it is to be
    read, when that is what `cause` says."""
    if isinstance(cause, kafka_errors.NoOffsetForPartitionError):
        return tuple(cause.args[0]), None
    if isinstance(cause, kafka_errors.OffsetOutOfRangeError):
        ((partition, offset),) = cause.args[0].items()
        return tuple(partition), offset
    return None
