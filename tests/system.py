"""The router as a user runs it: every role a process of its own, over services that are given."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from event_router.router.child import free_port
from event_router.router.commands.init import initialise
from event_router.router.readiness import readiness
from event_router.router.settings import Settings, read_settings
from event_router.schemas.topics import Topics

KEY = "test:" + base64.b64encode(b"k" * 32).decode()
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
API_KEY = "the-api-key"
ROLES = ("stream", "deliver", "log", "api")

# The embedded broker knows no idempotent producer, and doesn't wake a fetch that waits.
TANSU = {"ROUTER_KAFKA_IDEMPOTENT": "false", "ROUTER_KAFKA_FETCH_WAIT_MS": "20"}


def environment(kafka: str, redis: str, folder: Path, **more: str) -> dict[str, str]:
    """What the roles are given: `more` are variables without their `ROUTER_`."""
    return {
        "ROUTER_KAFKA": kafka,
        "ROUTER_REDIS": redis,
        "ROUTER_DATA_DIR": str(folder),
        "ROUTER_SECRETS_KEYS": KEY,
        "ROUTER_API_KEY": API_KEY,
        "ROUTER_API_PORT": str(free_port()),
        "ROUTER_ALLOW_NETWORKS": "127.0.0.0/8",
        "ROUTER_PARTITIONS": "4",
        "ROUTER_KAFKA_SESSION_TIMEOUT": "2",
    } | {f"ROUTER_{name}": value for name, value in more.items()}


@dataclass
class System:
    """Roles by name: their processes, and where their health servers answer."""

    env: Mapping[str, str]
    folder: Path
    settings: Settings
    roles: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    health: dict[str, str] = field(default_factory=dict)

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.namespace, self.settings.partitions)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    def start(self, role: str, name: str = "", **more: str) -> None:
        """A process of that role; `ready` waits for it. `name` tells it from others of the role,
        `more` are variables for it alone."""
        port = self.settings.api_port if role == "api" else free_port()
        name = name or role
        self.health[name] = f"http://127.0.0.1:{port}"
        with self.log(name).open("ab") as log:
            self.roles[name] = subprocess.Popen(
                [sys.executable, "-m", "event_router.router.cli", role],
                env={**os.environ, **self.env, **more, "ROUTER_HEALTH_PORT": str(port)},
                stderr=log,
            )

    async def end(self, name: str, seconds: float = 30.0) -> float:
        """SIGTERM, as an orderly stop is asked for; how many seconds it took, to exit code 0."""
        process, began = self.roles.pop(name), time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, seconds)
        assert code == 0, self.log(name).read_text()[-3000:]
        return time.monotonic() - began

    async def command(self, *words: str, code: int = 0) -> str:
        """What `router` prints when it is called so; AssertionError when it exits otherwise."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "event_router.router.cli", *words),
            env={**os.environ, **self.env, "COLUMNS": "300"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == code, (out + err).decode()
        return out.decode()

    def kill(self, role: str) -> None:
        """SIGKILL: nothing is finished, nothing said."""
        process = self.roles.pop(role)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """SIGTERM to all; SIGKILL to who is still there after 15 s."""
        for process in self.roles.values():
            process.send_signal(signal.SIGTERM)
        for process in self.roles.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, role: str) -> Path:
        return self.folder / f"{role}.stderr"

    async def ready(self, seconds: float = 60.0) -> None:
        """Every role that was started is ready; AssertionError, with its log, when one isn't."""
        until = time.monotonic() + seconds
        for role, url in self.health.items():
            while not ((look := await readiness(url)) and look.ready):
                assert time.monotonic() < until, f"{role}: {self.log(role).read_text()[-3000:]}"
                await asyncio.sleep(0.1)

    async def quiet(self, seconds: float = 120.0) -> None:
        """No role has anything left to read."""
        until = time.monotonic() + seconds
        calm = 0
        while calm < 3 and time.monotonic() < until:
            looks = await asyncio.gather(*(readiness(url) for url in self.health.values()))
            calm = calm + 1 if all(look and not look.lag for look in looks) else 0
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running(env: Mapping[str, str], folder: Path) -> AsyncIterator[System]:
    """All roles are ready; afterwards all have ended."""
    system = System(env, folder, read_settings(env))
    async for _ in initialise(system.settings):
        pass
    try:
        for role in ROLES:
            system.start(role)
        await system.ready()
        yield system
    finally:
        system.stop()
