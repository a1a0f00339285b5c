"""Buses of EventBridge, on moto's server. A proxy before it keeps what is put, for the service
itself hands details on written anew."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from event_router.consumers.sinks.aws_eventbridge import LONGEST, SOURCE
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    NetworkContract,
    SinkCase,
    Trouble,
    a_delivery,
)
from tests import services
from tests.contracts.sinks.aws_server import REGION, Aws, PartlyTaken, troubles_at, unwrapped
from tests.contracts.sinks.test_aws_sqs import taken
from tests.receivers import Reader, Request, Writer, read_request, scripted

SLOWER = b'{"__type": "ThrottlingException", "message": "slower"}'


class Proxy:
    """Hands requests on, and keeps the entries of those that were taken."""

    def __init__(self, url: str) -> None:
        self.entries: list[Any] = []
        self._to = urlsplit(url).netloc

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        while True:
            request = await read_request(reader)
            status, body = await asyncio.to_thread(self._handed_on, request)
            if status == 200:
                self.entries += json.loads(request.body)["Entries"]
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)))
            writer.write(body)
            await writer.drain()

    def _handed_on(self, request: Request) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._to)
        connection.request("POST", "/", request.body, dict(request.headers))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body


def arrived_as(entry: Any) -> Arrived:
    data, metadata = unwrapped(entry["Detail"].encode())
    assert entry["DetailType"] == metadata["topic"]
    assert entry["Source"] == SOURCE
    return Arrived(
        data, metadata["event-id"], metadata["topic"], metadata["content-type"], metadata
    )


class TestEventBridge(PartlyTaken, NetworkContract, BatchContract):
    type = "aws_eventbridge"
    partly = b"""{"FailedEntryCount": 1, "Entries": [
        {"EventId": "1"},
        {"ErrorCode": "ThrottlingException", "ErrorMessage": "slower"},
        {"EventId": "2"}]}"""

    @pytest.fixture
    async def case(self, aws: Aws) -> AsyncIterator[SinkCase]:
        client, bus, proxy = aws.client("events"), services.unique(), Proxy(aws.url)
        client.create_event_bus(Name=bus)

        async def arrived() -> list[Arrived]:
            return [arrived_as(entry) for entry in proxy.entries]

        async def connections() -> int:
            return server.connections

        async with scripted(proxy) as server:
            config = {
                "event_bus_name": bus,
                "region": REGION,
                "endpoint": f"http://127.0.0.1:{server.port}",
            }
            async with troubles_at(config, aws.url, SLOWER) as troubles:
                nobodys = {**config, "event_bus_name": "nobodys", "endpoint": aws.url}
                troubles["missing_target"] = Trouble(nobodys)
                troubles["too_large"] = Trouble(delivery=a_delivery(data=b"x" * LONGEST))
                yield SinkCase(config, arrived, troubles, aws.credentials, connections)
        client.close()

    async def test_a_rule_of_the_bus_sees_topic_and_data(
        self, case: SinkCase, open_sink: Any, aws: Aws
    ) -> None:
        events, sqs, name = aws.client("events"), aws.client("sqs"), case.config["event_bus_name"]
        queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        pattern = {"detail-type": ["user.created"], "detail": {"data": {"a": [1]}}}
        events.put_rule(Name="r", EventBusName=name, EventPattern=json.dumps(pattern))
        target = {"Id": "q", "Arn": f"arn:aws:sqs:{REGION}:123456789012:{name}"}
        events.put_targets(Rule="r", EventBusName=name, Targets=[target])
        sink = open_sink()
        await sink.deliver(a_delivery("evt_1", b'{"a": 1}'))
        await sink.deliver(a_delivery("evt_2", b'{"a": 2}'))
        (message,) = await asyncio.to_thread(taken, sqs, queue)
        assert json.loads(message["Body"])["detail"]["metadata"]["event-id"] == "evt_1"
        events.close()
        sqs.close()
