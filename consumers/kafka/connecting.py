"""Connections to brokers of the configuration, aside from those that aiokafka keeps."""

from contextlib import suppress
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.conn import collect_hosts

from event_router.consumers.kafka.config import KafkaConfig
from event_router.consumers.kafka.guard import create_conn


async def log_in(config: KafkaConfig) -> None:
    """aiokafka keeps to itself why no broker let it in: this asks once more, and raises that."""
    host, port, _ = collect_hosts(config.bootstrap, randomize=False)[0]
    connection = await _connection(config, host, port)
    connection.close()


async def _connection(config: KafkaConfig, host: str, port: int) -> Any:
    options = config.connection()
    del options["bootstrap_servers"]
    return await create_conn(host, port, **options)


async def connect(config: KafkaConfig) -> Any:
    """To one of the configured brokers; None when none answers."""
    for host, port, _ in collect_hosts(config.bootstrap):
        with suppress(kafka_errors.KafkaError, OSError, TimeoutError):
            return await _connection(config, host, port)
    return None
