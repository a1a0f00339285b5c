"""The contract of sinks, on an office of our own: pip install '.[test]' && pytest"""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from event_router.consumers.testing import (
    Arrived,
    NetworkContract,
    SinkCase,
    SinkContract,
    Trouble,
    a_delivery,
    refusing_port,
    silent_port,
)

TOKEN = "a-token-of-ours"
LONGEST = 1_000_000


class Office:
    def __init__(self):
        self.arrived = []
        self.closed = False

    async def serve(self, reader, writer):
        while head := await reader.readline():
            said = json.loads(head)
            data = await reader.readexactly(said["bytes"])
            writer.write(self.answer(said, data).encode() + b"\n")
        writer.close()

    def answer(self, said, data):
        if said["token"] != TOKEN:
            return "stranger"
        if said["line"] != "london":
            return "nowhere"
        if self.closed:
            return "later"
        if len(data) > LONGEST:
            return "long"
        texts = said["metadata"]
        self.arrived.append(
            Arrived(data, texts["event-id"], texts["topic"], texts["content-type"], texts)
        )
        return "stop"

    async def all_arrived(self):
        return self.arrived

    async def __aenter__(self):
        self.closed = True

    async def __aexit__(self, *_):
        self.closed = False


class TestTelegraph(NetworkContract, SinkContract):
    type = "telegraph"

    @pytest.fixture
    async def case(self):
        async with AsyncExitStack() as stack:
            office = Office()
            server = await asyncio.start_server(office.serve, "127.0.0.1", 0)
            stack.callback(server.close)
            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            port = server.sockets[0].getsockname()[1]
            config = {"server": f"127.0.0.1:{port}", "line": "london"}
            yield SinkCase(
                config,
                office.all_arrived,
                {
                    "wrong_credentials": Trouble(credentials={"token": "a-guess"}),
                    "missing_target": Trouble({**config, "line": "atlantis"}),
                    "refused_connection": Trouble({**config, "server": f"127.0.0.1:{refusing}"}),
                    "time_out": Trouble({**config, "server": f"127.0.0.1:{silent}"}, seconds=0.3),
                    "throttling": Trouble(arranged=lambda: office),
                    "too_large": Trouble(delivery=a_delivery(data=b"x" * (LONGEST + 1))),
                },
                {"token": TOKEN},
            )
