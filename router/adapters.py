"""Every adapter as the settings say, for whoever wires a role."""

import dataclasses

from event_router.consumers.addresses import Resolver
from event_router.consumers.health import Health
from event_router.consumers.http1.sender import Sender
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.ports import Sink
from event_router.consumers.producer import KafkaProducer
from event_router.consumers.sinks.kinds import SinkResources, load_sinks
from event_router.consumers.sinks.webhook_style import OUTPOST, WebhookStyle, read_names
from event_router.router.batch.uploads import Uploads
from event_router.router.hops.operator_events import OPERATOR
from event_router.router.redis_pipe import RedisPipe
from event_router.router.schedule.layout import Bounds
from event_router.router.schedule.redis import RedisSchedule
from event_router.router.settings import Settings
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Unavailable
from event_router.schemas.topics import Topics

HEADROOM = 16 * 1024


def kafka_config(settings: Settings) -> KafkaConfig:
    return KafkaConfig(
        bootstrap=settings.kafka,
        security=settings.kafka_security,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=settings.kafka_password.get_secret_value(),
        ca_file=settings.kafka_ca_file,
        cert_file=settings.kafka_cert_file,
        key_file=settings.kafka_key_file,
        idempotent=settings.kafka_idempotent,
        fetch_wait_ms=settings.kafka_fetch_wait_ms,
        session_timeout=settings.kafka_session_timeout,
    )


def message_limits(settings: Settings, topics: Topics) -> dict[str, int]:
    """`max.message.bytes` of each topic: an event and its headers, and on the topics behind it
    twice that, since heads carry more."""
    event = settings.max_event_bytes + HEADROOM
    return {topic: event if topic == topics.events else 2 * event for topic in topics.all}


async def find_topics(settings: Settings) -> Topics:
    """The topics as `router init` made them; Unavailable when one is missing."""
    named = Topics(settings.namespace)
    async with Admin(kafka_config(settings)) as admin:
        partitions = await admin.partitions(named.all)
    missing = [topic for topic in named.all if topic not in partitions]
    if missing:
        names = ", ".join(missing)
        raise Unavailable("kafka_unknown_topic", f"no topic {names}: run `router init`")
    return Topics(settings.namespace, partitions[named.deliveries])


def open_producer(settings: Settings, topics: Topics, health: Health) -> KafkaProducer:
    return KafkaProducer(kafka_config(settings), health, limits=message_limits(settings, topics))


def open_schedule(settings: Settings, topics: Topics, redis: RedisPipe) -> RedisSchedule:
    return RedisSchedule(redis, topics, Bounds.of(settings.redis_max_bytes))


def open_uploads(settings: Settings) -> Uploads:
    return Uploads(settings.uploads_folder, settings.uploads_max_bytes)


def webhook_style(settings: Settings) -> WebhookStyle:
    names = read_names(settings.webhook_header_names)
    return WebhookStyle.of(settings.webhook_mode, settings.webhook_header_prefix, names)


def open_sinks(settings: Settings) -> OpenSinks:
    """Sinks of every installed type, sharing one resolver and one HTTP sender. Operator events
    are signed as Outpost signs them, whatever webhooks look like.

    A destination's cluster in trouble is no trouble of ours: its producers report to a health of
    their own.
    """
    resolver = Resolver(settings.allow_networks)
    resources = SinkResources(
        # As many as one destination may have at work: one less, and each burst connects anew.
        sender=Sender(resolver, idle_per_pool=settings.delivery_slots, idle_limit=4096),
        resolver=resolver,
        open_producer=lambda config: KafkaProducer(config, Health()),
        timeout=settings.delivery_timeout,
        webhooks=webhook_style(settings),
        files=settings.files_dir,
    )
    types = load_sinks(resources.webhooks)
    to_operator = dataclasses.replace(resources, webhooks=OUTPOST)

    def open_sink(destination: Destination) -> Sink:
        own = destination.tenant == OPERATOR
        return types.open(destination, to_operator if own else resources)

    return OpenSinks(open_sink)
