"""Child processes: their output goes to a log file, and they don't outlive us."""

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from event_router.schemas.errors import EventRouterError

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

STALE_GRACE = 2.0
LARGEST_LOG = 10 * 1024 * 1024


class CannotStart(EventRouterError):
    """A process of ours doesn't start; the message says why and what to do."""


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills this process when the thread that started it ends.

    So a SIGKILL of ours leaves no orphans. Linux only; elsewhere it does nothing.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on, below the range that outgoing connections are given, so
    that it is still free when the child is started again."""
    dice = random.Random()
    for _ in range(200):
        port = dice.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise CannotStart(f"no free port between 15000 and 32000 on {host}")


class Child:
    """A process in a session of its own, so that Ctrl-C in the terminal reaches only us.

    Started again after it ended, it goes on in the same log file. `pid_file` is how the next run
    finds one that outlived a SIGKILL of ours, where the kernel doesn't see to that.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        pid_file: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        self.pid_file = pid_file
        self.env = dict(env or {})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Raises CannotStart when there is no such program."""
        await end_stale(self.pid_file, self.argv)
        with _opened(self.log) as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.env},
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            except OSError as error:
                raise CannotStart(f"{self.name}: {self.argv[0]}: {error.strerror}") from error
        self.pid_file.write_text(str(self._process.pid))

    async def start_until(self, healthy: Callable[[], Awaitable[bool]], timeout: float) -> None:
        """Starts it, and returns once it is healthy; raises CannotStart when it never is."""
        await self.start()
        deadline = time.monotonic() + timeout
        while self.running and time.monotonic() < deadline:
            if await healthy():
                return
            await asyncio.sleep(0.01)
        await self.stop(0)
        raise CannotStart(f"{self.name} doesn't start: {self.last_lines(3)} (see {self.log})")

    async def wait(self) -> int:
        """Its exit code, once it has ended; negative: the signal that ended it."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, grace: float) -> bool:
        """SIGTERM, and SIGKILL to what is left of its group after `grace` seconds.

        False: it had to be killed.
        """
        if self._process is None:
            return True
        self.signal(signal.SIGTERM)
        in_time = True
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            in_time = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self.pid_file.unlink(missing_ok=True)
        return in_time

    def last_lines(self, count: int = 1) -> str:
        """The end of its log, for a message to a person."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").strip().splitlines()
            return "\n".join(lines[-count:])
        return ""


def _opened(log: Path) -> BinaryIO:
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    return log.open("ab")


async def end_stale(pid_file: Path, argv: Sequence[str]) -> None:
    """Ends what an earlier run left, if the process of that id still runs exactly `argv`.

    Nothing is adopted: a child is ours only if we started it.
    """
    pid = _pid_in(pid_file)
    command = " ".join(argv)
    asked = time.monotonic()
    # Another process's end can't be awaited, only looked for.
    while pid and _command_line(pid) == command:
        late = time.monotonic() - asked > STALE_GRACE
        _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        await asyncio.sleep(0.05)


def _pid_in(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _command_line(pid: int) -> str:
    """What runs as `pid`, '' when nothing does or nobody can say."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        return b" ".join(words).decode(errors="replace")
    with contextlib.suppress(OSError):
        command = ["ps", "-o", "command=", "-p", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  nobody's input is in it
        return done.stdout.strip()
    return ""
