"""The router's processes, each started again whenever it ends: what systemd, Kubernetes or
`router up` does. Nobody looks at why."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from event_router.router.child import Child, free_port
from event_router.router.readiness import Readiness, readiness

PAUSE = 0.5
GRACE = 20.0
GRACE_OF_LOG = 60.0
"""It runs when a core has nothing else to do, so on a busy machine it is the last to end."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A process that ended; `asked` when we had told or made it to. `at` is monotonic."""

    role: str
    code: int
    asked: bool
    at: float


@dataclass(slots=True)
class Kept:
    """One process, and who starts it again."""

    role: str
    child: Child
    health: str
    asked: bool = False
    leaving: bool = False
    keeper: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class Roles:
    """Processes by name: the role, and a number when there are several (`deliver-2`)."""

    folder: Path
    env: Mapping[str, str]
    api_port: int
    running: dict[str, Kept] = field(default_factory=dict)
    exits: list[Exit] = field(default_factory=list)

    def named(self, role: str) -> list[str]:
        """The processes of that role."""
        return [name for name, kept in self.running.items() if kept.role == role]

    def clock_file(self, name: str) -> Path:
        """What libfaketime reads: how far the clock of that process is off."""
        return self.folder / f"{name}.clock"

    async def start(self, name: str) -> None:
        role = name.partition("-")[0]
        port = self.api_port if role == "api" else free_port()
        env = {**self.env, "ROUTER_HEALTH_PORT": str(port)}
        self.clock_file(name).write_text("+0s")
        if "LD_PRELOAD" in env:
            env["FAKETIME_TIMESTAMP_FILE"] = str(self.clock_file(name))
        child = Child(
            name,
            [sys.executable, "-m", "event_router.router.cli", role],
            self.folder / f"{name}.log",
            self.folder / f"{name}.pid",
            env,
        )
        kept = Kept(role, child, f"http://127.0.0.1:{port}")
        self.running[name] = kept
        await child.start()
        kept.keeper = asyncio.create_task(self._keep(name, kept), name=f"keep {name}")

    async def end(self, name: str, number: signal.Signals) -> None:
        """Sends the signal, and waits until it has ended; it is started again, unless it leaves.
        TimeoutError when it takes too long."""
        kept = self.running[name]
        pid = kept.child.pid
        kept.asked = True
        kept.child.signal(number)
        async with asyncio.timeout(GRACE_OF_LOG if kept.role == "log" else GRACE):
            await kept.child.wait()
        assert pid is not None

    async def leave(self, name: str, number: signal.Signals) -> None:
        """Ends it for good."""
        kept = self.running[name]
        kept.leaving = True
        await self.end(name, number)
        assert kept.keeper is not None
        await kept.keeper
        self.running.pop(name)

    async def stop(self) -> None:
        """All of them, at the end."""
        for kept in self.running.values():
            kept.leaving = kept.asked = True
        await asyncio.gather(*(kept.child.stop(GRACE) for kept in self.running.values()))
        await asyncio.gather(*(kept.keeper for kept in self.running.values() if kept.keeper))
        self.running.clear()

    async def look(self) -> dict[str, Readiness | None]:
        """What each says of itself."""
        names = list(self.running)
        looks = await asyncio.gather(*(readiness(self.running[name].health) for name in names))
        return dict(zip(names, looks, strict=True))

    async def ready(self, seconds: float) -> dict[str, str]:
        """Returns once all are ready; after `seconds` with those that aren't, and why."""
        until = time.monotonic() + seconds
        while True:
            late = {
                name: "nobody answers" if look is None else f"{look.troubles}"
                for name, look in (await self.look()).items()
                if look is None or not look.ready
            }
            if not late or time.monotonic() > until:
                return late
            await asyncio.sleep(0.2)

    async def _keep(self, name: str, kept: Kept) -> None:
        while True:
            code = await kept.child.wait()
            self.exits.append(Exit(name, code, kept.asked, time.monotonic()))
            kept.asked = False
            if kept.leaving:
                return
            await asyncio.sleep(PAUSE)
            await kept.child.start()


def faked_clocks(library: Path) -> dict[str, str]:
    """The environment in which a process reads the time of day from its file; what measures
    durations is left alone."""
    return {
        "LD_PRELOAD": os.fspath(library),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
    }
