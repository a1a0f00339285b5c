"""Is Kafka there, does it let us in, and are the topics as `router init` makes them?"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.consumers.watermark import Partition
from event_router.router.checks.finding import Finding, ok, problem, warning
from event_router.schemas.errors import Unavailable
from event_router.schemas.topics import Topics

PATIENCE = 5.0
FOREVER = "-1"


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """Each topic that is there: its partitions, and its configuration with what it inherits; and
    the partitions without a leader."""

    partitions: Mapping[str, int]
    configs: Mapping[str, Mapping[str, str]]
    leaderless: Sequence[Partition] = ()


async def examine_kafka(
    config: KafkaConfig, topics: Topics, limits: Mapping[str, int]
) -> list[Finding]:
    """`limits`: the `max.message.bytes` that each topic needs."""
    if not await _any_listens(config.bootstrap):
        advice = "start Kafka, or set ROUTER_KAFKA to its bootstrap servers"
        return [problem("kafka", f"nothing listens at {config.bootstrap}", advice)]
    hasty = replace(config, request_timeout=PATIENCE, session_timeout=PATIENCE)
    try:
        async with asyncio.timeout(2 * PATIENCE), Admin(hasty) as admin:
            facts = await _read(admin, topics)
    except (Unavailable, TimeoutError):
        return [_refused(config)]
    return [ok("kafka", f"answers at {config.bootstrap}"), *judge_topics(facts, topics, limits)]


async def _any_listens(bootstrap: str) -> bool:
    """One broker is enough: it knows the others."""
    answers = await asyncio.gather(*(_listens(address) for address in bootstrap.split(",")))
    return any(answers)


async def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True


def _refused(config: KafkaConfig) -> Finding:
    detail = f"{config.bootstrap} listens, but doesn't let us in as {config.security}"
    advice = "check ROUTER_KAFKA_SECURITY"
    if config.security.startswith("sasl"):
        detail += f" with {config.sasl_mechanism} as user {config.username!r}"
        advice += ", ROUTER_KAFKA_SASL_MECHANISM, ROUTER_KAFKA_USERNAME and ROUTER_KAFKA_PASSWORD"
    if config.security.endswith("ssl"):
        advice += ", and ROUTER_KAFKA_CA_FILE for the broker's certificate"
    return problem("kafka", detail, advice)


async def _read(admin: Admin, topics: Topics) -> TopicFacts:
    partitions = await admin.partitions(topics.all)
    configs = {topic: await admin.topic_config(topic) for topic in partitions}
    return TopicFacts(partitions, configs, await admin.leaderless(topics.all))


def judge_topics(facts: TopicFacts, topics: Topics, limits: Mapping[str, int]) -> Iterator[Finding]:
    missing = [topic for topic in topics.all if topic not in facts.partitions]
    if missing:
        detail = f"missing: {', '.join(missing)}"
        advice = "run `router init`, and check ROUTER_NAMESPACE"
        yield problem("topics", detail, advice)
        return
    found = [
        *_leaders(facts),
        *_partitions(facts, topics),
        *(
            finding
            for topic in topics.all
            for finding in _configuration(topic, facts.configs[topic], topics, limits[topic])
        ),
    ]
    yield from found or [ok("topics", f"{', '.join(topics.all)} are as they should be")]


def _leaders(facts: TopicFacts) -> Iterator[Finding]:
    if facts.leaderless:
        names = ", ".join(f"{topic}/{number}" for topic, number in sorted(facts.leaderless))
        yield problem("topics", f"without a leader: {names}", "check that all brokers run")


def _partitions(facts: TopicFacts, topics: Topics) -> Iterator[Finding]:
    deliveries, attempts = facts.partitions[topics.deliveries], facts.partitions[topics.attempts]
    if deliveries != attempts:
        yield problem(
            "topics",
            f"{topics.deliveries} has {deliveries} partitions, {topics.attempts} has {attempts}",
            "both need the same number: add partitions to the one with fewer",
        )
    if deliveries > topics.shards:
        yield problem(
            "topics",
            f"{topics.deliveries} has {deliveries} partitions, the schedule {topics.shards} shards",
            f"make it again with at most {topics.shards}: the others would stay empty",
        )


def _configuration(
    topic: str, config: Mapping[str, str], topics: Topics, needed: int
) -> Iterator[Finding]:
    largest = config.get("max.message.bytes")
    if largest is not None and int(largest) < needed:
        yield problem(
            "topics",
            f"{topic} takes messages of {largest} bytes, and {needed} may come",
            f"set its max.message.bytes to {needed}, or lower ROUTER_MAX_EVENT_BYTES",
        )
    policy = config.get("cleanup.policy", "delete")
    if policy != "delete":
        yield problem(
            "topics",
            f"{topic} has cleanup.policy={policy}, so records with the same key are lost",
            "set its cleanup.policy to delete",
        )
    kept = config.get("retention.ms", FOREVER)
    if topic == topics.dead and kept != FOREVER:
        yield warning(
            "topics",
            f"{topic} forgets after {int(kept) // 3_600_000} hours",
            f"set its retention.ms to {FOREVER}: what is dead is kept",
        )
