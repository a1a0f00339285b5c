"""Every name of Faust, mode and aiokafka that we override or touch, as it is in the pinned version.

Who upgrades one of them reads the changed code first, then changes this table.
"""

import inspect
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaClient, AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import (
    Assignment,
    Subscription,
    SubscriptionState,
    TopicPartitionState,
)
from faust.app.base import BootStrategy
from faust.contrib import asgi
from faust.tables.recovery import Recovery
from faust.transport import consumer as faust_consumer
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage
from mode import Service
from mode.threads import ServiceThread
from mode.utils.queues import FlowControlEvent

from event_router.router.settings import Settings
from event_router.router.stream import app as stream_app
from event_router.router.stream.fetch import FetchService
from event_router.router.stream.transport import StreamConsumer, StreamTransport

PINNED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "mode-streaming": "0.7.1"}


@pytest.mark.parametrize("package", PINNED)
def test_the_versions_are_the_ones_that_were_read(package: str) -> None:
    assert version(package) == PINNED[package]


def names(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


COROUTINES: dict[Callable[..., Any], list[str]] = {
    # overridden
    driver.AIOKafkaConsumerThread.on_start: ["self"],
    driver.AIOKafkaConsumerThread.on_thread_stop: ["self"],
    driver.AIOKafkaConsumerThread._commit: ["self", "offsets"],
    driver.AIOKafkaConsumerThread.call_thread: ["self", "fun", "args", "kwargs"],
    driver.AIOKafkaConsumerThread.on_partitions_revoked: ["self", "revoked"],
    driver.AIOKafkaConsumerThread.on_partitions_assigned: ["self", "assigned", "generation_id"],
    driver.Consumer._drain_messages: ["self", "fetcher"],
    driver.Consumer.commit: ["self", "topics", "start_new_transaction"],
    driver.Consumer.on_partitions_revoked: ["self", "revoked"],
    driver.Consumer.on_partitions_assigned: ["self", "assigned", "generation_id"],
    driver.Consumer.subscribe: ["self", "topics"],
    driver.Consumer.perform_seek: ["self"],
    driver.Consumer.verify_all_partitions_active: ["self"],
    driver.Consumer.on_stop: ["self"],
    # called
    driver.Consumer._commit: ["self", "offsets"],
    driver.Consumer.highwaters: ["self", "partitions"],
    GroupCoordinator._do_heartbeat: ["self"],
    Fetcher._proc_fetch_request: ["self", "assignment", "node_id", "request"],
    Fetcher.fetched_records: ["self", "partitions", "timeout", "max_records"],
    AIOKafkaClient.send: ["self", "node_id", "request", "group"],
    AIOKafkaClient._get_conn: ["self", "node_id", "group", "no_hint"],
    AIOKafkaClient._md_synchronizer: ["self"],
    AIOKafkaClient._metadata_update: ["self", "cluster_metadata", "topics"],
    AIOKafkaConsumer.commit: ["self", "offsets"],
    AIOKafkaConsumer.seek_to_beginning: ["self", "partitions"],
    AIOKafkaConsumer.beginning_offsets: ["self", "partitions"],
    AIOKafkaConsumer.end_offsets: ["self", "partitions"],
    FlowControlEvent.acquire: ["self"],
    Service.start: ["self"],
    Service.maybe_start: ["self"],
    Service.stop: ["self"],
    Service.crash: ["self", "reason"],
    Service._stop_children: ["self"],
    Service._stop_futures: ["self"],
    Service._stop_exit_stacks: ["self"],
    Service.wait_until_stopped: ["self"],
}

FUNCTIONS: dict[Callable[..., Any], list[str]] = {
    # overridden
    driver.AIOKafkaConsumerThread._create_worker_consumer: ["self", "transport"],
    driver.Consumer._new_consumer_thread: ["self"],
    driver.Consumer.ack: ["self", "message"],
    driver.Consumer.resume_flow: ["self"],
    faust.Schema.loads_key: ["self", "app", "message", "loads", "serializer"],
    faust.Schema.loads_value: ["self", "app", "message", "loads", "serializer"],
    # called
    driver.AIOKafkaConsumerThread._ensure_consumer: ["self"],
    driver.Consumer.stop_flow: ["self"],
    driver.Consumer.assignment: ["self"],
    driver.ensure_aiokafka_TP: ["tp"],
    driver.Transport.__init__: ["self", "args", "kwargs"],
    asgi.bind_to_running_loop: ["app"],
    GroupCoordinator.check_errors: ["self"],
    AIOKafkaClient.force_metadata_update: ["self"],
    AIOKafkaConsumer.assignment: ["self"],
    AIOKafkaConsumer.seek: ["self", "partition", "offset"],
    AIOKafkaConsumer.pause: ["self", "partitions"],
    AIOKafkaConsumer.resume: ["self", "partitions"],
    AIOKafkaConsumer.paused: ["self"],
    AIOKafkaConsumer.highwater: ["self", "partition"],
    AIOKafkaConsumer.last_stable_offset: ["self", "partition"],
    Assignment.state_value: ["self", "tp"],
    FlowControlEvent.suspend: ["self"],
    FlowControlEvent.clear: ["self"],
    Service._stopped_set: ["self"],
    Service.set_shutdown: ["self"],
    Service.itertimer: [
        "self", "interval", "max_drift_correction", "sleep", "clock", "name",
    ],
}  # fmt: skip


@pytest.mark.parametrize("function", COROUTINES, ids=lambda one: one.__qualname__)
def test_coroutines_take_what_they_took(function: Callable[..., Any]) -> None:
    assert inspect.iscoroutinefunction(function)
    assert names(function) == COROUTINES[function]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__qualname__)
def test_functions_take_what_they_took(function: Callable[..., Any]) -> None:
    assert not inspect.iscoroutinefunction(function)
    assert names(function) == FUNCTIONS[function]


ATTRIBUTES: list[tuple[Callable[..., Any], str]] = [
    (AIOKafkaConsumer.__init__, "self._client = "),
    (AIOKafkaConsumer.__init__, "self._subscription = "),
    (AIOKafkaConsumer.start, "self._fetcher = Fetcher("),
    (AIOKafkaConsumer.start, "self._coordinator = GroupCoordinator("),
    (GroupCoordinator.__init__, "self._coordination_task = "),
    (Subscription.__init__, "self._assignment = "),
    (driver.Consumer.__init__, "self._thread = self._new_consumer_thread()"),
    (faust_consumer.Consumer.__init__, "self.callback = callback"),
    (faust_consumer.Consumer.stop_flow, "self.flow_active = False"),
    (faust_consumer.Consumer.resume_flow, "self.can_resume_flow.set()"),
    (faust_consumer.Fetcher.__dict__["_fetcher"].fun, "consumer._drain_messages(self)"),
    (driver.AIOKafkaConsumerThread.on_start, "self._create_consumer(loop=self.thread_loop)"),
    (
        driver.ConsumerRebalanceListener.on_partitions_assigned,
        "consumer_generation_id = generation",
    ),
    (Conductor._compile_message_handler, "get_callback_for_tp(message.tp)"),
    (Recovery._resume_streams, "consumer.resume_flow()"),
    (Service._crash, "self.crash_reason = reason"),
]


@pytest.mark.parametrize(("function", "line"), ATTRIBUTES, ids=[line for _, line in ATTRIBUTES])
def test_the_code_that_we_lean_on_is_still_there(function: Callable[..., Any], line: str) -> None:
    assert line in inspect.getsource(function)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (SubscriptionState, "subscription"),
        (Subscription, "assignment"),
        (Assignment, "tps"),
        (TopicPartitionState, "position"),
        (TopicPartitionState, "has_valid_position"),
    ],
)
def test_properties_are_properties(owner: type, name: str) -> None:
    assert isinstance(inspect.getattr_static(owner, name), property)


def test_a_fetch_that_fails_or_is_cancelled_answers_false() -> None:
    """As the paced fetch does: the fetcher awaits it without a net when it closes."""
    source = inspect.getsource(Fetcher._proc_fetch_request)
    assert "except asyncio.CancelledError:" in source
    assert source.count("return False") == 3


def test_the_metadata_task_is_begun_by_its_name_and_tells_those_who_wait() -> None:
    assert "create_task(self._md_synchronizer())" in inspect.getsource(AIOKafkaClient.bootstrap)
    source = inspect.getsource(AIOKafkaClient._md_synchronizer)
    assert "if self._md_update_fut is None:" in source
    assert "self._md_update_fut.set_result(ret)" in source
    assert "await self._metadata_update(self.cluster, topics)" in source
    source = inspect.getsource(AIOKafkaClient._metadata_update)
    assert 'bootstrap_id = ("bootstrap", ConnectionGroup.DEFAULT)' in source
    assert 'nodeids.append("bootstrap")' in source


def test_records_of_another_assignment_are_not_returned() -> None:
    assert "if assignment.active:" in inspect.getsource(FetchResult.check_assignment)


def test_an_assignment_begins_at_the_commits() -> None:
    """Why `perform_seek` has nothing to do."""
    assert "tp_state.reset_to(committed.offset)" in inspect.getsource(
        Fetcher._update_fetch_positions
    )


def test_nothing_of_the_thread_is_left_in_the_service() -> None:
    of_the_thread = {name for name in vars(ServiceThread) if callable(vars(Service).get(name))}
    assert of_the_thread - set(vars(FetchService)) == {"__init__", "_new_shutdown_event"}
    assert ServiceThread.wait_for_shutdown
    assert not FetchService.wait_for_shutdown


def test_the_message_is_what_faust_makes_of_a_record() -> None:
    assert names(driver.Consumer._to_message) == ["self", "tp", "record"]
    assert names(ConsumerMessage.__init__)[:11] == [
        "self", "topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key",
        "value", "checksum", "serialized_key_size",
    ]  # fmt: skip


def test_the_app_takes_its_services_from_the_boot_strategy() -> None:
    assert StreamTransport.Consumer is StreamConsumer
    assert stream_app._App.BootStrategy is stream_app._Boot
    for name in ("enable_kafka_producer", "enable_web", "enable_sensors"):
        assert name in vars(BootStrategy)


def test_faust_knows_the_options(tmp_path: Path) -> None:
    options = stream_app._options(Settings.model_validate({"data_dir": tmp_path}))
    conf = faust.App("contract", **options).conf
    for name in options.keys() - {"broker", "datadir"}:
        assert getattr(conf, name) == options[name], name
