"""What is seen of topics while a broker is away."""

from types import SimpleNamespace
from typing import Any

import pytest

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.router.checks.kafka import TopicFacts, judge_topics
from event_router.schemas.topics import Topics


def described(topic: str, *leaders: int, error: int = 0) -> dict[str, Any]:
    partitions = [{"partition": n, "leader": leader} for n, leader in enumerate(leaders)]
    return {"topic": topic, "error_code": error, "partitions": partitions}


@pytest.fixture
async def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    async def describe_topics(names: list[str]) -> list[dict[str, Any]]:
        known = [described("whole", 1, 2), described("half", 1, -1), described("gone", error=3)]
        return [one for one in known if one["topic"] in names]

    admin = Admin(KafkaConfig())
    monkeypatch.setattr(admin, "_admin", SimpleNamespace(describe_topics=describe_topics))
    return admin


async def test_a_partition_without_a_leader_is_still_one_of_the_topic(admin: Admin) -> None:
    """Or everything in the topic would seem to have been read."""
    assert await admin.partitions(["whole", "half", "gone"]) == {"whole": 2, "half": 2}


async def test_partitions_without_a_leader_are_named(admin: Admin) -> None:
    assert await admin.leaderless(["whole", "half", "gone"]) == [("half", 1)]


def test_the_doctor_tells_of_partitions_without_a_leader() -> None:
    topics = Topics()
    configs: dict[str, dict[str, str]] = {topic: {} for topic in topics.all}
    facts = TopicFacts(dict.fromkeys(topics.all, 2), configs, [(topics.events, 1)])
    first = next(iter(judge_topics(facts, topics, dict.fromkeys(topics.all, 0))))
    assert first.detail == "without a leader: events/1"
    assert "brokers" in first.advice
