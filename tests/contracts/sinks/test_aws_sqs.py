"""Queues of SQS, on moto's server, which knows users, and on ElasticMQ, which asks for none."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from event_router.consumers.ports import BatchSink
from event_router.consumers.sinks.aws_sqs import AwsSqs, region_of
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    NetworkContract,
    SinkCase,
    Trouble,
    a_delivery,
)
from event_router.schemas.errors import Unavailable
from tests import services
from tests.contracts.sinks.aws_server import Aws, PartlyTaken, client_of, troubles_at
from tests.receivers import receiver

SLOWER = b'{"__type": "RequestThrottled", "message": "slower"}'
ANYBODY = {"key": "AKIAANYBODYANYBODY", "secret": "a-secret-of-anybody"}


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


async def case_on(
    url: str, credentials: Mapping[str, str], name: str, attributes: Mapping[str, str]
) -> AsyncIterator[SinkCase]:
    client = client_of("sqs", url, credentials)
    queue = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    config = {"queue_url": queue}
    seen: list[Arrived] = []

    async def arrived() -> list[Arrived]:
        seen.extend(map(arrived_as, await asyncio.to_thread(taken, client, queue)))
        return seen

    async with troubles_at(config, url, SLOWER) as troubles:
        troubles["missing_target"] = Trouble({"queue_url": f"{url}/123456789012/nobodys"})
        too_large = a_delivery(data=b"x" * (AwsSqs.longest + 1))
        troubles["too_large"] = Trouble(delivery=too_large)
        yield SinkCase(config, arrived, troubles, credentials)
    client.close()


class SqsContract(BatchContract):
    type = "aws_sqs"
    refused_payloads: ClassVar = {"empty": "payload_refused", "binary": "payload_refused"}
    attributes: ClassVar[dict[str, str]] = {}
    suffix: ClassVar[str] = ""

    @pytest.fixture
    async def case(self, aws: Aws) -> AsyncIterator[SinkCase]:
        name = services.unique() + self.suffix
        async for case in case_on(aws.url, aws.credentials, name, self.attributes):
            yield case


class TestSqs(PartlyTaken, NetworkContract, SqsContract):
    partly = b"""{
        "Successful": [{"Id": "2", "MessageId": "c"}, {"Id": "0", "MessageId": "a"}],
        "Failed": [{"Id": "1", "Code": "RequestThrottled", "SenderFault": true}]}"""

    async def test_what_the_answer_says_nothing_of_is_tried_again(
        self, case: SinkCase, open_sink: Callable[..., BatchSink]
    ) -> None:
        async with receiver(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}") as server:
            sink = open_sink({**case.config, "endpoint": server.url.rstrip("/")})
            (result,) = await sink.deliver_many([a_delivery()])
        assert isinstance(result, Unavailable)
        assert result.code == "service_unavailable"


class TestSqsFifo(SqsContract):
    suffix = ".fifo"
    attributes: ClassVar = {"FifoQueue": "true"}


class ElasticMqContract(SqsContract):
    without: ClassVar = {"wrong_credentials": "it asks nobody for credentials"}

    @pytest.fixture
    async def case(self, elasticmq: services.ElasticMq) -> AsyncIterator[SinkCase]:
        name = services.unique() + self.suffix
        async for case in case_on(elasticmq.url, ANYBODY, name, self.attributes):
            possible = {
                name: how for name, how in case.troubles.items() if name not in self.without
            }
            yield replace(case, troubles=possible)


class TestElasticMq(ElasticMqContract):
    pass


class TestElasticMqFifo(ElasticMqContract):
    suffix = ".fifo"
    attributes: ClassVar = {"FifoQueue": "true"}


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.eu-central-1.api.aws", "eu-central-1"),
        ("vpce-1-a.sqs.eu-central-1.vpce.amazonaws.com", "eu-central-1"),
        ("ap-south-1.queue.amazonaws.com", "ap-south-1"),
        ("queue.amazonaws.com", "us-east-1"),
        ("127.0.0.1", "us-east-1"),
    ],
)
def test_the_region_is_that_of_the_queues_host(host: str, region: str) -> None:
    assert region_of(host) == region
