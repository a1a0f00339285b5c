"""Queues of SQS, on moto's server."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from event_router.consumers.sinks.aws_sqs import AwsSqs
from event_router.consumers.testing import Arrived, BatchContract, SinkCase, Trouble, a_delivery
from tests import services
from tests.contracts.sinks.aws_server import Aws, troubles_at

SLOWER = b'{"__type": "RequestThrottled", "message": "slower"}'


def arrived_as(message: Any) -> Arrived:
    metadata = json.loads(message["MessageAttributes"]["metadata"]["StringValue"])
    data = message["Body"].encode()
    return Arrived(
        data, metadata["event-id"], metadata["topic"], metadata["content-type"], metadata
    )


def taken(client: Any, queue: str) -> list[Any]:
    """All messages, which are gone then."""
    found: list[Any] = []
    while messages := client.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages", []):
        found += messages
    return found


class SqsContract(BatchContract):
    type = "aws_sqs"
    refused_payloads: ClassVar = {"empty": "payload_refused", "binary": "payload_refused"}
    attributes: ClassVar[dict[str, str]] = {}
    suffix: ClassVar[str] = ""

    @pytest.fixture
    async def case(self, aws: Aws) -> AsyncIterator[SinkCase]:
        client, name = aws.client("sqs"), services.unique() + self.suffix
        queue = client.create_queue(QueueName=name, Attributes=self.attributes)["QueueUrl"]
        config = {"queue_url": queue}
        seen: list[Arrived] = []

        async def arrived() -> list[Arrived]:
            seen.extend(map(arrived_as, await asyncio.to_thread(taken, client, queue)))
            return seen

        too_large = a_delivery(data=b"x" * (AwsSqs.longest + 1))
        async with troubles_at(config, aws.url, SLOWER) as troubles:
            troubles["missing_target"] = Trouble({"queue_url": f"{aws.url}/123456789012/nobodys"})
            troubles["too_large"] = Trouble(delivery=too_large)
            yield SinkCase(config, arrived, troubles, aws.credentials)
        client.close()


class TestSqs(SqsContract):
    pass


class TestSqsFifo(SqsContract):
    suffix = ".fifo"
    attributes: ClassVar = {"FifoQueue": "true"}
