"""`router up`: every role on this machine, and the services that nobody gave an address for."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from event_router.router.child import free_port
from event_router.router.demo.demo import open_demo, receiving
from event_router.router.embedded.data_dir import DataDir
from event_router.router.embedded.tansu import Tansu
from event_router.router.embedded.valkey import Valkey
from event_router.router.init import create_topics, initialise
from event_router.router.settings import Settings, read_settings
from event_router.router.supervisor import (
    BROKER_FORGETS,
    BROKER_KEEPS,
    RoleSpec,
    Step,
    Supervisor,
)
from event_router.schemas.topics import Topics

READY_TIMEOUT = 60.0
ROLES = ("stream", "deliver", "log")

# The embedded broker knows no idempotent producer, wakes no waiting fetch, and a group's first
# join takes half a session.
TANSU = {
    "ROUTER_KAFKA_IDEMPOTENT": "false",
    "ROUTER_KAFKA_FETCH_WAIT_MS": "20",
    "ROUTER_KAFKA_SESSION_TIMEOUT": "1",
    "ROUTER_PARTITIONS": "4",
}
# The API has 2.5 s of the ten to stop in, and closes its producer after the last request.
API = {"ROUTER_DRAIN_TIMEOUT": "1"}
DEMO = {"ROUTER_ALLOW_NETWORKS": "127.0.0.0/8", "ROUTER_RETRY_SCHEDULE": "2,3,5,10,20,30"}


@dataclass(slots=True)
class Running:
    """What `up` has started: the settings that the roles got, and who keeps them running."""

    settings: Settings
    supervisor: Supervisor
    roles: dict[str, str]

    @property
    def api(self) -> str:
        return f"http://{self.settings.api_host}:{self.settings.api_port}"


async def run_up(*, demo: bool) -> int:
    """Returns the exit code once everything was stopped in order."""
    console = Console()
    data_dir = DataDir(read_settings().data_dir)
    with data_dir.locked():
        supervisor = Supervisor(data_dir, console.print)
        # The receiver outlives the roles, which deliver to it until they stop.
        async with receiving(data_dir.path) if demo else nullcontext():
            try:
                await _until_told(_run(data_dir, supervisor, console, demo=demo))
            finally:
                console.print("stopping: what runs is finished or parked (10 s at most)")
                for line in await supervisor.stop(_steps()):
                    console.print(line)
    console.print("stopped")
    return 0


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` until it ends by itself, or SIGINT or SIGTERM cancels it."""
    running = asyncio.create_task(work, name="up")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running


async def _run(data_dir: DataDir, supervisor: Supervisor, console: Console, *, demo: bool) -> None:
    running = await _start(data_dir, supervisor, console.print, DEMO if demo else {})
    settings = running.settings
    console.print(f"API      {running.api}/api/v1   docs: {running.api}/docs", highlight=False)
    console.print(f"API key  {settings.api_key.get_secret_value()}", highlight=False)
    console.print("Ctrl-C stops everything in order.")
    if not demo:
        await asyncio.Event().wait()
    async with open_demo(settings, running.api, running.roles) as shown:
        console.print(shown.curl, highlight=False, soft_wrap=True)
        await shown.run(console)


def _steps() -> Sequence[Step]:
    return BROKER_KEEPS if _given("ROUTER_KAFKA") else BROKER_FORGETS


async def _start(
    data_dir: DataDir,
    supervisor: Supervisor,
    announce: Callable[[str], None],
    defaults: dict[str, str],
) -> Running:
    env = _with_secrets(data_dir, defaults)
    embedded = []
    if not _given("ROUTER_KAFKA"):
        tansu = Tansu(data_dir)
        env |= {
            "ROUTER_KAFKA": tansu.bootstrap,
            **_unset(TANSU),
        }
        embedded.append("Kafka (tansu, in memory)")
        await supervisor.start_service(tansu, after_restart=lambda: _make_topics(env))
    if not _given("ROUTER_REDIS"):
        valkey = Valkey(data_dir)
        env["ROUTER_REDIS"] = valkey.url
        embedded.append("Redis (Valkey)")
        await supervisor.start_service(valkey)
    settings = read_settings({**os.environ, **env})
    async for step in initialise(settings):
        announce(f"{step.name}: {step.outcome}")
    running = Running(settings, supervisor, {})
    if embedded:
        announce(f"embedded, in {data_dir.path}: {', '.join(embedded)}")
    await _start_roles(running, env)
    return running


def _given(variable: str) -> bool:
    return bool(os.environ.get(variable))


def _unset(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not _given(name)}


def _with_secrets(data_dir: DataDir, defaults: dict[str, str]) -> dict[str, str]:
    """What nobody set: generated secrets, and `defaults`."""
    made = data_dir.secrets()
    wanted = {
        "ROUTER_API_KEY": made.api_key,
        "ROUTER_JWT_SECRET": made.jwt_secret,
        "ROUTER_SECRETS_KEYS": made.secrets_keys,
        "ROUTER_DATA_DIR": str(data_dir.path),
        **defaults,
    }
    return _unset(wanted)


async def _make_topics(env: dict[str, str]) -> None:
    settings = read_settings({**os.environ, **env})
    await create_topics(settings, Topics(settings.namespace, settings.partitions))


async def _start_roles(running: Running, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "event_router.router.cli"]
    for name in ROLES:
        port = free_port()
        running.roles[name] = f"http://127.0.0.1:{port}"
        own = {**env, "ROUTER_HEALTH_PORT": str(port), "ROUTER_HEALTH_HOST": "127.0.0.1"}
        spec = RoleSpec(name, [*command, name], running.roles[name], own, parks=name == "deliver")
        await running.supervisor.start_role(spec)
    running.roles["api"] = running.api
    await running.supervisor.start_role(
        RoleSpec("api", [*command, "api"], running.api, env | _unset(API))
    )
    await running.supervisor.wait_ready(READY_TIMEOUT)
