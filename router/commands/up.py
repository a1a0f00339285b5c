"""`router up`: every role on this machine, and the services that nobody gave an address for."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from event_router.router.checks.host import examine_port
from event_router.router.child import CannotStart, free_port
from event_router.router.commands.init import create_topics, initialise
from event_router.router.demo.demo import open_demo, receiving
from event_router.router.embedded.data_dir import DataDir
from event_router.router.embedded.tansu import Tansu
from event_router.router.embedded.valkey import Valkey
from event_router.router.log_lines import log_to_file
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
ROLES = ("stream", "deliver", "log", "jobs")

# The embedded broker knows no idempotent producer, wakes no waiting fetch, and a group's first
# join takes half a session.
TANSU = {
    "ROUTER_KAFKA_IDEMPOTENT": "false",
    "ROUTER_KAFKA_FETCH_WAIT_MS": "20",
    "ROUTER_KAFKA_SESSION_TIMEOUT": "1",
    "ROUTER_PARTITIONS": "4",
}
# Who publishes has 2.5 s of the ten to stop in, and closes its producer after the last answer.
PUBLISHES = {"ROUTER_DRAIN_TIMEOUT": "1"}
_EXAMPLE = '{"tenant_id":"demo","topic":"order.created","data":{"amount":999}}'
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


async def run_up(*, demo: bool) -> None:
    """Returns once everything was stopped in order. Raises EventRouterError for what keeps it
    from starting, after what had started was stopped."""
    console = Console()
    settings = read_settings()
    data_dir = DataDir(settings.data_dir)
    log_to_file(data_dir.log("up"), "up")
    with data_dir.locked():
        await _refuse_a_taken_port(settings)
        supervisor = Supervisor(data_dir, console.print)
        # The receiver outlives the roles, which deliver to it until they stop.
        async with receiving(data_dir.path) if demo else nullcontext():
            try:
                await _until_told(_run(data_dir, supervisor, console, demo=demo))
            finally:
                console.print("stopping: what runs is finished or parked (10 s at most)")
                for line in await supervisor.stop(_steps()):
                    console.print(line)
                data_dir.environment.unlink(missing_ok=True)
    console.print("stopped; `router up` again goes on with what was parked")


async def _refuse_a_taken_port(settings: Settings) -> None:
    """Before anything starts: whoever answers there isn't ours, and must not be set up as if."""
    if not settings.api_port:
        return
    found = await examine_port(settings.api_host, settings.api_port)
    if found.verdict == "problem":
        raise CannotStart(f"{found.detail}: {found.advice}")
    if "runs" in found.detail:
        raise CannotStart(
            f"another Event Router {found.detail}: stop it, or set ROUTER_API_PORT to another port"
        )


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` until it ends by itself, or a signal cancels it: Ctrl-C, SIGTERM, or the end of
    the terminal (SIGHUP)."""
    running = asyncio.create_task(work, name="up")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running


async def _run(data_dir: DataDir, supervisor: Supervisor, console: Console, *, demo: bool) -> None:
    running = await _start(data_dir, supervisor, console.print, DEMO if demo else {})
    settings = running.settings
    async with open_demo(settings, running.api, running.roles) if demo else nullcontext() as shown:
        for line in _welcome(running):
            console.out(line, highlight=False)
        if shown is None:
            await asyncio.Event().wait()
        else:
            await shown.run(console)


def _welcome(running: Running) -> Iterator[str]:
    """Lines that fit a terminal of 80 columns, so that they can be copied."""
    settings = running.settings
    yield ""
    yield f"API    {running.api}/api/v1"
    yield f"docs   {running.api}/docs"
    yield f"Kafka  {settings.kafka}"
    yield ""
    yield "Ready. Ctrl-C stops everything in order. Try, in another terminal:"
    yield ""
    yield f"  KEY={settings.api_key.get_secret_value()}"
    yield f"  curl -s {running.api}/api/v1/publish \\"
    yield '    -H "Authorization: Bearer $KEY" \\'
    yield f"    -d '{_EXAMPLE}'"
    yield ""


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
    for name, value in _unset(defaults).items():
        announce(f"for the demo: {name}={value}")
    _write_environment(data_dir, {**os.environ, **env})
    await _start_roles(running, env)
    return running


def _write_environment(data_dir: DataDir, environ: Mapping[str, str]) -> None:
    """For `router env`: readable by us alone, since keys stand in it."""
    lines = [
        f"export {name}={shlex.quote(value)}"
        for name, value in sorted(environ.items())
        if name.startswith("ROUTER_") and value
    ]
    data_dir.environment.touch(mode=0o600)
    data_dir.environment.write_text("\n".join(lines) + "\n")


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
    made_up = _unset(wanted)
    if os.environ.get("ROUTER_API_PORT") == "0":
        made_up["ROUTER_API_PORT"] = str(free_port())
    return made_up


async def _make_topics(env: dict[str, str]) -> None:
    settings = read_settings({**os.environ, **env})
    await create_topics(settings, Topics(settings.namespace, settings.partitions))


async def _start_roles(running: Running, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "event_router.router.cli"]
    for name in ROLES:
        port = free_port()
        running.roles[name] = f"http://127.0.0.1:{port}"
        own = {**env, "ROUTER_HEALTH_PORT": str(port), "ROUTER_HEALTH_HOST": "127.0.0.1"}
        own |= _unset(PUBLISHES) if name == "jobs" else {}
        spec = RoleSpec(name, [*command, name], running.roles[name], own, parks=name == "deliver")
        await running.supervisor.start_role(spec)
    running.roles["api"] = running.api
    await running.supervisor.start_role(
        RoleSpec("api", [*command, "api"], running.api, env | _unset(PUBLISHES))
    )
    await running.supervisor.wait_ready(READY_TIMEOUT)
