"""Streams of Kinesis, on moto's server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from event_router.consumers.sinks.aws_kinesis import LONGEST
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    NetworkContract,
    SinkCase,
    Trouble,
    a_delivery,
    a_destination,
    local_resources,
)
from tests import services
from tests.contracts.sinks.aws_server import REGION, Aws, PartlyTaken, troubles_at, unwrapped

SLOWER = b'{"__type": "ProvisionedThroughputExceededException", "message": "slower"}'


def records_of(client: Any, stream: str) -> list[Any]:
    """All records of the stream's only shard."""
    (shard,) = client.describe_stream(StreamName=stream)["StreamDescription"]["Shards"]
    begin = client.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    found: list[Any] = client.get_records(ShardIterator=begin["ShardIterator"])["Records"]
    return found


def arrived_as(record: Any) -> Arrived:
    data, metadata = unwrapped(record["Data"])
    return Arrived(
        data, metadata["event-id"], metadata["topic"], metadata["content-type"], metadata
    )


class TestKinesis(PartlyTaken, NetworkContract, BatchContract):
    type = "aws_kinesis"
    partly = b"""{"FailedRecordCount": 1, "Records": [
        {"SequenceNumber": "1", "ShardId": "s"},
        {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slower"},
        {"SequenceNumber": "2", "ShardId": "s"}]}"""

    @pytest.fixture
    async def case(self, aws: Aws) -> AsyncIterator[SinkCase]:
        client, stream = aws.client("kinesis"), services.unique()
        client.create_stream(StreamName=stream, ShardCount=1)

        async def arrived() -> list[Arrived]:
            return list(map(arrived_as, await asyncio.to_thread(records_of, client, stream)))

        config = {"stream_name": stream, "region": REGION, "endpoint": aws.url}
        async with troubles_at(config, aws.url, SLOWER) as troubles:
            troubles["missing_target"] = Trouble({**config, "stream_name": f"{stream}-nobodys"})
            troubles["too_large"] = Trouble(delivery=a_delivery(data=b"x" * LONGEST))
            yield SinkCase(config, arrived, troubles, aws.credentials)
        client.close()

    async def test_the_partition_key_is_the_events_id_or_what_a_template_finds(
        self, case: SinkCase, aws: Aws
    ) -> None:
        async with local_resources() as resources:
            for more in ({}, {"partition_key_template": "data.customer"}):
                destination = a_destination(
                    "aws_kinesis", {**case.config, **more}, case.credentials
                )
                sink = load_sinks().open(destination, resources)
                await sink.deliver(a_delivery("evt_1", b'{"customer":"c1"}'))
                await sink.aclose()
        client = aws.client("kinesis")
        records = await asyncio.to_thread(records_of, client, case.config["stream_name"])
        assert [record["PartitionKey"] for record in records] == ["evt_1", "c1"]
        client.close()
