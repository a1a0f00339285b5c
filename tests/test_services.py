"""The services that other tests stand on."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests import services


async def _one_record_comes_back(bootstrap: str, topic: str, *, sasl: bool = False) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    await producer.send_and_wait(topic, b"hello")
    await producer.stop()
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    record = await asyncio.wait_for(consumer.getone(), 20)
    await consumer.stop()
    assert record.value == b"hello"


async def test_kafka_takes_a_record_and_gives_it_back(
    kafka: services.Kafka, namespace: str
) -> None:
    await kafka.make_topics({namespace: 3})
    await _one_record_comes_back(kafka.bootstrap, namespace)


async def test_a_killed_kafka_keeps_its_topics(
    faulty_kafka: services.Kafka, namespace: str
) -> None:
    await faulty_kafka.make_topics({namespace: 1})
    await asyncio.to_thread(faulty_kafka.kill)
    await asyncio.to_thread(faulty_kafka.start)
    await _one_record_comes_back(faulty_kafka.bootstrap, namespace)


async def test_tansu_takes_a_record_and_gives_it_back(
    tansu: services.Tansu, namespace: str
) -> None:
    await tansu.make_topics({namespace: 3})
    await _one_record_comes_back(tansu.bootstrap, namespace)


@pytest.mark.parametrize("fixture", ["redis_url", "valkey_url"])
async def test_redis_and_valkey_are_empty_and_new_enough(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(fixture)
    async with redis.asyncio.from_url(url) as client:
        assert await client.dbsize() == 0
        assert await client.set("key", "a", nx=True, get=True) is None


def test_postgres_gives_every_test_a_database_of_its_own(
    postgres_server: services.Postgres, postgres_url: str
) -> None:
    assert postgres_server.create_database() != postgres_url
    with psycopg.connect(services.plain(postgres_url)) as connection:
        connection.execute("CREATE TABLE t (a int)")


def test_no_service_outlives_a_killed_test_run() -> None:
    script = "from tests import services; print(services.own_redis().own.pid, flush=True); input()"
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=services.ROOT,
    )
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 20
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def test_a_missing_service_fails_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("TEST_REDIS", raising=False)
    with pytest.raises(services.Missing, match="apt-get install redis-server"):
        services.redis()
    with pytest.raises(services.Missing, match="apt-get install default-jre-headless"):
        services.own_kafka()
