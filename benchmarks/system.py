"""The system under measurement: services, roles as processes of their own, destinations."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from benchmarks.processes import cpu_seconds
from event_router.router.child import free_port
from event_router.router.init import initialise
from event_router.router.readiness import readiness
from event_router.router.redis_pipe import RedisPipe
from event_router.router.settings import Settings, read_settings
from event_router.router.store.ports import DestinationFields
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.secrets import Secrets
from event_router.router.versions import RedisVersions
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.topics import Topics
from tests import services

Kind = Literal["real", "embedded"]
Database = Literal["sqlite", "postgres"]

KEY = "bench:" + base64.b64encode(b"k" * 32).decode()
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
ROLES = ("stream", "deliver", "log", "api")


@dataclass
class System:
    """Roles by name with their processes; services by name with theirs."""

    settings: Settings
    topics: Topics
    roles: dict[str, subprocess.Popen[bytes]]
    services: dict[str, int]
    health: dict[str, str] = field(default_factory=dict)

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by role and by service."""
        pids = {name: process.pid for name, process in self.roles.items()} | self.services
        return {name: cpu_seconds(pid) for name, pid in pids.items()}

    async def quiet(self, timeout: float = 120.0) -> None:
        """Until no role has anything left to read."""
        until = time.monotonic() + timeout
        calm = 0
        while calm < 3 and time.monotonic() < until:
            looks = await asyncio.gather(*(readiness(url) for url in self.health.values()))
            calm = calm + 1 if all(look and not look.lag for look in looks) else 0
            await asyncio.sleep(0.2)

    async def make_destinations(self, count: int, port: int) -> None:
        """`count` webhooks of the tenant `bench`, each with a path of its own."""
        redis = RedisPipe(self.settings.redis)
        versions = RedisVersions(redis, self.topics.prefix)
        registry = SqlRegistry(self.settings.registry_url, Secrets((KEY,)), versions)
        await registry.upsert_tenant("bench", None)
        for number in range(count):
            await registry.create(
                DestinationKey("bench", f"d{number}"),
                DestinationFields(
                    type="webhook",
                    topics=("*",),
                    config={"url": f"http://127.0.0.1:{port}/d{number}"},
                    credentials={"secret": SECRET},
                ),
            )
        await registry.aclose()
        await redis.aclose()


@asynccontextmanager
async def running(kind: Kind, database: Database) -> AsyncIterator[System]:
    """Everything is started and ready; all of it is gone afterwards."""
    with TemporaryDirectory(prefix="event-router-bench-") as folder:
        env, pids, close = _services(kind, database, Path(folder))
        settings = read_settings(env)
        async for _ in initialise(settings):
            pass
        system = System(settings, Topics(settings.namespace, settings.partitions), {}, pids)
        try:
            await _start_roles(system, env, Path(folder))
            yield system
        finally:
            _stop(system)
            for one in reversed(close):
                one.stop()


def _services(
    kind: Kind, database: Database, folder: Path
) -> tuple[dict[str, str], dict[str, int], list[services.Service]]:
    if kind == "real":
        kafka, redis = services.own_kafka(), services.own_redis()
    else:
        kafka, redis = services.tansu(), services.valkey()  # type: ignore[assignment]
    started: list[services.Service] = [kafka, redis]
    env = {
        "ROUTER_KAFKA": kafka.bootstrap,
        "ROUTER_REDIS": redis.url,
        "ROUTER_DATA_DIR": str(folder / "data"),
        "ROUTER_SECRETS_KEYS": KEY,
        "ROUTER_API_KEY": "bench",
        "ROUTER_API_PORT": str(free_port()),
        "ROUTER_ALLOW_NETWORKS": "127.0.0.0/8",
        "ROUTER_PARTITIONS": "4",
    }
    if kind == "embedded":
        env |= {"ROUTER_KAFKA_IDEMPOTENT": "false", "ROUTER_KAFKA_FETCH_WAIT_MS": "20"}
    if database == "postgres":
        postgres = services.own_postgres()
        started.append(postgres)
        env["ROUTER_DATABASE"] = postgres.create_database()
        env["ROUTER_LOG_DATABASE"] = postgres.create_database()
    names = {"real": ("kafka", "redis"), "embedded": ("tansu", "valkey")}[kind]
    pids = dict(zip((*names, "postgres"), (one.own.pid for one in started), strict=False))
    return env, pids, started


async def _start_roles(system: System, env: dict[str, str], folder: Path) -> None:
    for name in ROLES:
        port = free_port()
        system.health[name] = f"http://127.0.0.1:{port}"
        if name == "api":
            system.health[name] = f"http://127.0.0.1:{system.settings.api_port}"
        system.roles[name] = _spawn(name, {**env, "ROUTER_HEALTH_PORT": str(port)}, folder)
    until = time.monotonic() + 60
    for name, url in system.health.items():
        while not ((look := await readiness(url)) and look.ready):
            if time.monotonic() > until:
                raise RuntimeError((folder / f"{name}.log").read_text()[-2000:])
            await asyncio.sleep(0.1)


def _spawn(role: str, env: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{role}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "event_router.router.cli", role],
            env={**os.environ, **env},
            stderr=log,
        )


def _stop(system: System) -> None:
    for process in system.roles.values():
        process.send_signal(signal.SIGTERM)
    for process in system.roles.values():
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
