"""Subjects of JetStream, on nats-server."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import nats
import pytest
from nats.js.api import DiscardPolicy, StreamConfig

from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import (
    Arrived,
    SinkCase,
    SinkContract,
    Trouble,
    a_delivery,
    a_destination,
    local_resources,
    refusing_port,
    silent_port,
)
from event_router.schemas.errors import Unavailable
from tests import services


def arrived_as(message: Any) -> Arrived:
    headers = dict(message.headers)
    return Arrived(
        message.data or b"", headers["event-id"], headers["topic"], headers["content-type"], headers
    )


class TestNats(SinkContract):
    type = "nats"

    @pytest.fixture
    async def case(self, nats_server: services.Nats) -> AsyncIterator[SinkCase]:
        name = services.unique("s")
        user, password = services.NATS_USERS["writer"], services.NATS_PASSWORD
        config = {"server": nats_server.server, "subject": f"{name}.events"}
        credentials = {"username": user, "password": password}
        async with AsyncExitStack() as stack:
            client = await nats.connect(
                f"nats://{nats_server.server}",
                user=services.NATS_USERS["owner"],
                password=password,
            )
            stack.push_async_callback(client.close)
            stream = client.jetstream()
            await stream.add_stream(StreamConfig(name, subjects=[f"{name}.events"]))
            full = StreamConfig(
                f"{name}-full",
                subjects=[f"{name}.full"],
                max_bytes=1,
                discard=DiscardPolicy.NEW,
            )
            await stream.add_stream(full)

            async def arrived() -> list[Arrived]:
                last = (await stream.stream_info(name)).state.last_seq
                return [arrived_as(await stream.get_msg(name, seq)) for seq in range(1, last + 1)]

            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            yield SinkCase(
                config,
                arrived,
                {
                    "wrong_credentials": Trouble(
                        credentials={**credentials, "password": "a-wrong-guess"}
                    ),
                    "missing_target": Trouble({**config, "subject": f"{name}.nobodys"}),
                    "refused_connection": Trouble({**config, "server": f"127.0.0.1:{refusing}"}),
                    "time_out": Trouble({**config, "server": f"127.0.0.1:{silent}"}, seconds=0.3),
                    "throttling": Trouble({**config, "subject": f"{name}.full"}),
                    "too_large": Trouble(delivery=a_delivery(data=b"x" * (2 << 20))),
                },
                credentials,
            )

    async def test_a_subject_that_is_not_the_users_is_said(self, case: SinkCase) -> None:
        config = {**case.config, "subject": "forbidden"}
        async with local_resources(timeout=1.0) as resources:
            sink = load_sinks().open(a_destination("nats", config, case.credentials), resources)
            with pytest.raises(Unavailable, match="permission_denied"):
                await sink.deliver(a_delivery())
            await sink.aclose()
