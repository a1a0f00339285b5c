"""A stream app as a process of its own, which can be killed.

    python -m tests.faust.worker BOOTSTRAP GROUP TOPIC JOURNAL HELD_ID

Writes `begun ID` and `done ID` into JOURNAL; a batch with HELD_ID in it hangs.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from event_router.consumers.health import Health
from event_router.router.stream.app import run_stream, stream_app
from event_router.schemas.record import Record
from tests.faust.apps import settings


async def main(bootstrap: str, group: str, topic: str, journal: str, held: str) -> None:
    log = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def note(what: str, ids: Sequence[str]) -> None:
        os.write(log, "".join(f"{what} {one}\n" for one in ids).encode())

    async def hop(records: Sequence[Record]) -> None:
        ids = [(record.value or b"").decode() for record in records]
        note("begun", ids)
        if held in ids:
            await asyncio.Event().wait()
        note("done", ids)

    with tempfile.TemporaryDirectory() as folder:
        app = stream_app(settings(bootstrap, Path(folder)), group, {topic: hop}, Health())
        await run_stream(app, stop)


if __name__ == "__main__":
    bootstrap, group, topic, journal, held = sys.argv[1:]
    asyncio.run(main(bootstrap, group, topic, journal, held))
