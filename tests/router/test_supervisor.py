"""Roles as child processes: kept running, and stopped in the order that loses nothing."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from event_router.router.child import CannotStart, free_port
from event_router.router.embedded.data_dir import DataDir
from event_router.router.embedded.tansu import Tansu
from event_router.router.embedded.valkey import Valkey
from event_router.router.readiness import Readiness, readiness
from event_router.router.supervisor import (
    BROKER_FORGETS,
    BROKER_KEEPS,
    RoleSpec,
    Step,
    Supervisor,
    pause_after,
)
from tests.waiting import until

ROLE = Path(__file__).with_name("fake_role.py")


class Stage:
    """A supervisor with fake roles, and what was said and done."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: list[str] = []
        self.data_dir = DataDir(directory / "data")
        self.supervisor = Supervisor(self.data_dir, self.said.append)

    async def start(self, name: str, *options: str) -> RoleSpec:
        port = free_port()
        argv = (sys.executable, str(ROLE), name, str(port), str(self.directory), *options)
        spec = RoleSpec(name, argv, f"http://127.0.0.1:{port}", parks=name == "deliver")
        await self.supervisor.start_role(spec)
        return spec

    async def start_all(self) -> None:
        for name in ("log", "stream", "deliver", "api"):
            await self.start(name)
        await self.supervisor.wait_ready(30)

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    @property
    def journal(self) -> list[str]:
        path = self.directory / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def pid(self, name: str) -> int:
        return int(self.data_dir.pid_file(name).read_text())

    def ends(self) -> list[str]:
        return [line for line in self.journal if "starts" not in line]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.supervisor.stop([])


async def test_roles_end_in_the_order_that_loses_nothing(stage: Stage) -> None:
    await stage.start_all()
    assert await stage.supervisor.stop(BROKER_FORGETS) == []
    assert stage.ends() == [
        "api ends with lag 0",
        "deliver parks",
        "deliver ends with lag 0",
        "stream ends with lag 0",
        "log ends with lag 0",
    ]


async def test_what_cannot_be_delivered_in_time_is_parked(stage: Stage) -> None:
    stage.write("deliver.lag", "700")
    await stage.start_all()
    assert await stage.supervisor.stop(BROKER_FORGETS) == []
    assert "deliver ends with lag 0" in stage.journal


async def test_the_log_ends_only_when_it_has_read_everything(stage: Stage) -> None:
    stage.write("log.lag", "9")
    await stage.start_all()
    stopping = asyncio.create_task(stage.supervisor.stop(BROKER_FORGETS))
    await until(lambda: "stream ends with lag 0" in stage.journal)
    await asyncio.sleep(0.3)
    assert not stopping.done()
    stage.write("log.lag", "0")
    assert await stopping == []
    assert stage.ends()[-1] == "log ends with lag 0"


async def test_a_role_in_trouble_is_not_taken_for_one_that_has_read_everything(
    stage: Stage,
) -> None:
    await stage.start("log")
    await stage.supervisor.wait_ready(30)
    stage.write("log.trouble", "Kafka doesn't answer")
    began = time.monotonic()
    await stage.supervisor.stop((Step(1.0, quiet=("log",)),))
    assert time.monotonic() - began >= 1.0


async def test_what_is_left_is_said_and_everything_ends_within_ten_seconds(stage: Stage) -> None:
    stage.write("stream.lag", "5")
    for name in ("log", "deliver", "api"):
        await stage.start(name)
    await stage.start("stream", "stubborn")
    await stage.supervisor.wait_ready(30)
    began = time.monotonic()
    lines = await stage.supervisor.stop(BROKER_FORGETS)
    assert time.monotonic() - began < 10
    assert lines == ["stream: 5 records were unread, it didn't end in time and was killed"]


async def test_with_a_broker_that_keeps_its_topics_roles_end_at_once(stage: Stage) -> None:
    stage.write("stream.lag", "100000")
    await stage.start_all()
    began = time.monotonic()
    await stage.supervisor.stop(BROKER_KEEPS)
    assert time.monotonic() - began < 5
    assert stage.ends()[0] == "api ends with lag 0"
    assert len(stage.ends()) == 4


async def test_a_killed_role_is_started_again(stage: Stage) -> None:
    spec = await stage.start("stream")
    await stage.supervisor.wait_ready(30)
    os.kill(stage.pid("stream"), signal.SIGKILL)
    await until(lambda: stage.journal.count("stream starts") == 2)
    await stage.supervisor.wait_ready(30)
    assert await readiness(spec.health) == Readiness(ready=True, lag=0)


async def test_a_role_that_dies_while_others_drain_comes_back_to_finish(stage: Stage) -> None:
    stage.write("stream.lag", "3")
    await stage.start_all()
    stopping = asyncio.create_task(stage.supervisor.stop(BROKER_FORGETS))
    await until(lambda: "api ends with lag 0" in stage.journal)
    os.kill(stage.pid("stream"), signal.SIGKILL)
    stage.write("stream.lag", "0")
    assert await stopping == []
    assert stage.journal.count("stream starts") == 2
    assert "stream ends with lag 0" in stage.journal


async def test_a_role_that_keeps_dying_is_announced_with_its_last_words(stage: Stage) -> None:
    stage.write("api.broken", "")
    await stage.start("api")
    await until(lambda: len(stage.said) == 3)
    assert stage.said[:2] == ["api ended (code 1) and is started again"] * 2
    assert stage.said[2].startswith(
        "api keeps exiting (code 1, 3 times in a row): a setting is wrong (more in "
    )
    assert stage.journal.count("api starts") == 3


async def test_stopping_does_not_wait_for_a_role_that_is_dead(stage: Stage) -> None:
    stage.write("api.broken", "")
    await stage.start("api")
    await until(lambda: bool(stage.said))
    began = time.monotonic()
    await stage.supervisor.stop((Step(5, stop=("api",)),))
    assert time.monotonic() - began < 3


async def test_a_role_that_does_not_get_ready_is_named_with_what_to_do(stage: Stage) -> None:
    stage.write("stream.trouble", "Kafka at 127.0.0.1:1 doesn't answer: check ROUTER_KAFKA")
    await stage.start("stream")
    await until(lambda: "stream starts" in stage.journal)
    with pytest.raises(CannotStart, match=r"stream isn't ready: Kafka .* check ROUTER_KAFKA"):
        await stage.supervisor.wait_ready(1)


async def test_a_killed_service_comes_back_and_gets_back_what_it_forgot(stage: Stage) -> None:
    restored = asyncio.Event()

    async def restore() -> None:
        restored.set()

    broker, store = Tansu(stage.data_dir), Valkey(stage.data_dir)
    await stage.supervisor.start_service(broker, after_restart=restore)
    await stage.supervisor.start_service(store)
    broker.child.signal(signal.SIGKILL)
    await asyncio.wait_for(restored.wait(), 20)
    assert await broker.healthy()
    await stage.supervisor.stop(BROKER_FORGETS)
    assert not broker.child.running
    assert not store.child.running


def test_pauses_between_starts_grow_to_a_bound() -> None:
    pauses = [pause_after(deaths) for deaths in range(1, 100)]
    assert pauses[:3] == [0.25, 0.5, 1.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10.0


async def test_nobody_there_is_not_ready() -> None:
    assert await readiness(f"http://127.0.0.1:{free_port()}") is None
