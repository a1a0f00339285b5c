"""Runs the roles and the embedded services as child processes, and stops them in order.

The order is about what would be lost. With a broker that forgets, nothing may be left in a topic
when it stops:

1. the API and publishers end: nothing new comes in
2. route has read `events` to its end, and what needs no waiting is delivered
3. deliver parks whatever else is in `deliveries`, ends what runs, and stops
4. settle has read `attempts` to its end: every retry is in the schedule; stream stops
5. the log has read all four topics to their ends, and stops
6. the broker, then Valkey, which keeps the schedule

Each step has until its mark; what a step doesn't need is left to the next ones. With a broker that
keeps its topics the roles just stop: the next run goes on where they were.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from event_router.router.child import CannotStart, Child
from event_router.router.embedded.data_dir import DataDir
from event_router.router.readiness import Readiness, readiness
from event_router.schemas.errors import EventRouterError

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
STEADY = 30.0  # seconds: who ran as long didn't die of its start
KEEPS_DYING = 3  # times in a row

LOOK_PAUSE = 0.05
CALM_LOOKS = 4  # lag 0 as often in a row: one look may miss what was sent a moment ago
SHORTEST_GRACE = 0.2


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """One role: how to start it, and the URL of its health server.

    `parks`: SIGUSR1 tells it to attempt nothing new and to park all that it reads.
    """

    name: str
    argv: Sequence[str]
    health: str
    env: Mapping[str, str] = field(default_factory=dict)
    parks: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Has until `mark` (seconds since stopping began): tell `park` to park, wait until all of
    `quiet` have nothing left to read, and end `stop`. Roles that don't run are passed over."""

    mark: float
    stop: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()
    park: str | None = None


BROKER_FORGETS = (
    Step(2.5, stop=("demo", "api", "jobs")),
    Step(3.5, quiet=("stream", "deliver")),
    Step(5.0, park="deliver", quiet=("stream", "deliver")),
    Step(6.5, stop=("deliver",)),
    Step(7.5, quiet=("stream",)),
    Step(8.0, stop=("stream",)),
    Step(8.8, quiet=("log",)),
    Step(9.2, stop=("log",)),
)
BROKER_KEEPS = (
    Step(2.5, stop=("demo", "api", "jobs")),
    Step(9.0, stop=("deliver", "stream", "log")),
)
SERVICES_GRACE = 0.3


class Service(Protocol):
    """An embedded service: Tansu, Valkey."""

    @property
    def child(self) -> Child: ...

    async def start(self) -> None:
        """Returns once it is healthy; raises CannotStart."""
        ...


class _Kept:
    """A child that is started again whenever it ends, until `end`."""

    def __init__(
        self,
        child: Child,
        start: Callable[[], Awaitable[None]],
        announce: Callable[[str], None],
    ) -> None:
        self.child = child
        self._start = start
        self._announce = announce
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        await self._start()
        self._task = asyncio.create_task(self._keep(), name=f"keep-{self.child.name}")

    async def end(self, grace: float) -> bool:
        """False: it had to be killed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        return await self.child.stop(grace)

    async def _keep(self) -> None:
        deaths = 0
        while True:
            began = time.monotonic()
            code = await self.child.wait()
            ran = time.monotonic() - began
            deaths = 1 if ran > STEADY else deaths + 1
            self._tell(code, deaths)
            await asyncio.sleep(pause_after(deaths))
            try:
                await self._start()
            except EventRouterError as error:
                log.warning("child.cannot_start", extra={"child": self.child.name})
                self._announce(str(error))

    def _tell(self, code: int, deaths: int) -> None:
        name = self.child.name
        log.warning("child.exited", extra={"child": name, "code": code, "deaths": deaths})
        if deaths < KEEPS_DYING:
            self._announce(f"{name} ended ({_meaning(code)}) and is started again")
        else:
            self._announce(
                f"{name} keeps exiting ({_meaning(code)}, {deaths} times in a row): "
                f"{self.child.last_lines() or 'it says nothing'} (more in {self.child.log})"
            )


def pause_after(deaths: int) -> float:
    """Seconds before the next start, after so many deaths in a row."""
    return float(min(FIRST_PAUSE * 2 ** min(deaths - 1, 10), LONGEST_PAUSE))


def _meaning(code: int) -> str:
    return f"code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


class Supervisor:
    """`announce` shows a line to the person at the terminal."""

    def __init__(self, data_dir: DataDir, announce: Callable[[str], None]) -> None:
        self._data_dir = data_dir
        self._announce = announce
        self._services: list[_Kept] = []
        self._roles: dict[str, _Kept] = {}
        self._specs: dict[str, RoleSpec] = {}

    async def start_service(
        self, service: Service, after_restart: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Returns once it is healthy; raises CannotStart. `after_restart` puts back what the
        service has forgotten."""
        first = True

        async def start() -> None:
            nonlocal first
            await service.start()
            if after_restart is not None and not first:
                await after_restart()
            first = False

        kept = _Kept(service.child, start, self._announce)
        self._services.append(kept)
        await kept.begin()

    async def start_role(self, spec: RoleSpec) -> None:
        """Returns at once; `wait_ready` waits."""
        child = Child(
            spec.name,
            spec.argv,
            self._data_dir.log(spec.name),
            self._data_dir.pid_file(spec.name),
            spec.env,
        )
        kept = _Kept(child, child.start, self._announce)
        self._roles[spec.name], self._specs[spec.name] = kept, spec
        await kept.begin()

    async def wait_ready(self, timeout: float) -> None:
        """Until every role is ready; raises CannotStart that names those which aren't."""
        deadline = time.monotonic() + timeout
        while True:
            looks = await self._look(self._roles)
            late = [name for name, look in looks.items() if look is None or not look.ready]
            if not late:
                return
            if time.monotonic() > deadline:
                raise CannotStart("\n".join(self._why(name, looks[name]) for name in late))
            await asyncio.sleep(LOOK_PAUSE)

    def _why(self, name: str, look: Readiness | None) -> str:
        child = self._roles[name].child
        if look is not None and look.troubles:
            detail = "; ".join(look.troubles.values())
        else:
            detail = child.last_lines() or "it says nothing"
        return f"{name} isn't ready: {detail} (more in {child.log})"

    async def stop(self, steps: Sequence[Step]) -> list[str]:
        """Everything has ended on return. A line for each thing that didn't go in order."""
        began = time.monotonic()
        lines = []
        for step in steps:
            lines += await self._take(step, began + step.mark)
        # What no step names has nothing to lose.
        lines += await self._end(tuple(self._roles), time.monotonic() + SHORTEST_GRACE)
        for kept in self._services:
            await kept.end(SERVICES_GRACE)
        self._services.clear()
        log.info("supervisor.stopped", extra={"seconds": time.monotonic() - began, "late": lines})
        return lines

    async def _take(self, step: Step, deadline: float) -> list[str]:
        if step.park in self._roles and self._specs[step.park].parks:
            self._roles[step.park].child.signal(signal.SIGUSR1)
        await self._until_quiet(step.quiet, deadline)
        return await self._end(step.stop, deadline)

    async def _until_quiet(self, names: Sequence[str], deadline: float) -> None:
        """Until none of them has had anything to read for a while, or the deadline."""
        asked = [name for name in names if name in self._roles]
        calm = 0
        while asked and calm < CALM_LOOKS and time.monotonic() < deadline:
            looks = await self._look(asked)
            calm = calm + 1 if all(map(_has_read_all, looks.values())) else 0
            await asyncio.sleep(LOOK_PAUSE)

    async def _end(self, names: Sequence[str], deadline: float) -> list[str]:
        ending = [name for name in names if name in self._roles]
        looks = await self._look(ending)
        grace = max(SHORTEST_GRACE, deadline - time.monotonic())
        in_time = await asyncio.gather(*(self._roles.pop(name).end(grace) for name in ending))
        return [
            line
            for name, ended in zip(ending, in_time, strict=True)
            if (line := _unfinished(name, looks[name], ended))
        ]

    async def _look(self, names: Iterable[str]) -> dict[str, Readiness | None]:
        asked = list(names)
        looks = await asyncio.gather(*(readiness(self._specs[name].health, 0.5) for name in asked))
        return dict(zip(asked, looks, strict=True))


def _has_read_all(look: Readiness | None) -> bool:
    """One that has just started, or can't reach Kafka, doesn't know what there is to read."""
    return look is not None and look.ready and look.lag == 0


def _unfinished(name: str, last: Readiness | None, ended: bool) -> str | None:
    parts = []
    if last is not None and last.lag:
        parts.append(f"{last.lag} records were unread")
    if not ended:
        parts.append("it didn't end in time and was killed")
    return f"{name}: {', '.join(parts)}" if parts else None
