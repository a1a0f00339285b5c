"""Topics of SNS, on moto's server, as a queue of SQS hears of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from event_router.consumers.sinks.aws_sns import AwsSns
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    NetworkContract,
    SinkCase,
    Trouble,
    a_delivery,
)
from tests import services
from tests.contracts.sinks.aws_server import REGION, Aws, PartlyTaken, troubles_at
from tests.contracts.sinks.test_aws_sqs import arrived_as, taken

SLOWER = (
    b"<ErrorResponse><Error><Code>Throttling</Code><Message>x</Message></Error></ErrorResponse>"
)


class TestSns(PartlyTaken, NetworkContract, BatchContract):
    type = "aws_sns"
    partly = b"""<PublishBatchResponse><PublishBatchResult>
        <Successful>
            <member><Id>2</Id><MessageId>c</MessageId></member>
            <member><Id>0</Id><MessageId>a</MessageId></member>
        </Successful>
        <Failed>
            <member><Id>1</Id><Code>Throttled</Code><SenderFault>true</SenderFault></member>
        </Failed>
        </PublishBatchResult></PublishBatchResponse>"""
    refused_payloads: ClassVar = {"empty": "payload_refused", "binary": "payload_refused"}

    @pytest.fixture
    async def case(self, aws: Aws) -> AsyncIterator[SinkCase]:
        sns, sqs, name = aws.client("sns"), aws.client("sqs"), services.unique()
        topic = sns.create_topic(Name=name)["TopicArn"]
        queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:123456789012:{name}",
            Attributes={"RawMessageDelivery": "true"},
        )
        seen: list[Arrived] = []

        async def arrived() -> list[Arrived]:
            seen.extend(map(arrived_as, await asyncio.to_thread(taken, sqs, queue)))
            return seen

        config = {"topic_arn": topic, "endpoint": aws.url}
        async with troubles_at(config, aws.url, SLOWER) as troubles:
            troubles["missing_target"] = Trouble({**config, "topic_arn": f"{topic}-nobodys"})
            too_large = a_delivery(data=b"x" * (AwsSns.longest + 1))
            troubles["too_large"] = Trouble(delivery=too_large)
            yield SinkCase(config, arrived, troubles, aws.credentials)
        sns.close()
        sqs.close()
