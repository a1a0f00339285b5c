"""A downstream service in a process of its own, for the tests that kill it.

    python -m tests.subscriber BOOTSTRAP TOPIC GROUP OUTPUT

Appends a line to OUTPUT for each record: `begin VALUE`, then `end VALUE`. A value that begins with
`stuck` never ends.
"""

import asyncio
import sys
from io import FileIO

from event_router.consumers.subscribe import KafkaConfig, Reading, subscribe
from event_router.schemas.record import Record

READING = Reading(commit_every=0.2, drain=1.0)


async def main(bootstrap: str, topic: str, group: str, file: FileIO) -> None:
    async def handle(record: Record) -> None:
        value = record.value or b""
        file.write(b"begin %s\n" % value)
        await asyncio.sleep(3600 if value.startswith(b"stuck") else 0.002)
        file.write(b"end %s\n" % value)

    kafka = KafkaConfig(bootstrap, session_timeout=1.0)
    await subscribe([topic], group, handle, kafka=kafka, reading=READING)
    file.write(b"left\n")


if __name__ == "__main__":
    with FileIO(sys.argv[4], "ab") as output:
        asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], output))
