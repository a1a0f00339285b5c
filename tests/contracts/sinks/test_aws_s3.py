"""Buckets of S3, on moto's server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest

from event_router.consumers.ports import Sink
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import (
    Arrived,
    NetworkContract,
    SinkCase,
    SinkContract,
    Trouble,
    a_delivery,
    a_destination,
    local_resources,
)
from event_router.schemas.errors import TooLarge
from tests import services
from tests.contracts.sinks.aws_server import REGION, Aws, troubles_at
from tests.receivers import receiver

SLOWER = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


def objects_of(client: Any, bucket: str) -> list[tuple[str, Any]]:
    """By key; each object's answer, with its body read."""
    found = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", []):
            answer = client.get_object(Bucket=bucket, Key=one["Key"])
            found.append((one["Key"], {**answer, "Body": answer["Body"].read()}))
    return found


def arrived_as(answer: Any) -> Arrived:
    metadata = answer["Metadata"]
    return Arrived(
        answer["Body"], metadata["event-id"], metadata["topic"], answer["ContentType"], metadata
    )


class TestS3(NetworkContract, SinkContract):
    type = "aws_s3"
    without: ClassVar = {"too_large": "an object takes 5 GB, more than an event may have"}

    @pytest.fixture
    async def case(self, aws: Aws) -> AsyncIterator[SinkCase]:
        client, bucket = aws.client("s3"), services.unique("bucket")
        client.create_bucket(Bucket=bucket)

        async def arrived() -> list[Arrived]:
            found = await asyncio.to_thread(objects_of, client, bucket)
            return [arrived_as(answer) for _, answer in found]

        config = {"bucket": bucket, "region": REGION, "endpoint": aws.url}
        async with troubles_at(config, aws.url, SLOWER) as troubles:
            troubles["missing_target"] = Trouble({**config, "bucket": f"{bucket}-nobodys"})
            yield SinkCase(config, arrived, troubles, aws.credentials)
        client.close()

    async def test_more_metadata_than_an_object_may_have_is_no_retrys_business(
        self, case: SinkCase, open_sink: Callable[..., Sink]
    ) -> None:
        body = b"<Error><Code>MetadataTooLarge</Code><Message>2048 bytes</Message></Error>"
        head = b"HTTP/1.1 400 X\r\ncontent-length: %d\r\n\r\n" % len(body)
        async with receiver(head + body) as server:
            sink = open_sink({**case.config, "endpoint": server.url.rstrip("/")})
            with pytest.raises(TooLarge, match="MetadataTooLarge"):
                await sink.deliver(a_delivery())

    async def test_keys_and_the_storage_class_are_as_entered(
        self, case: SinkCase, aws: Aws
    ) -> None:
        template = "join('/', [metadata.topic, data.customer])"
        client, bucket = aws.client("s3"), case.config["bucket"]
        async with local_resources() as resources:
            templates = (None, template, "join('/', [metadata.nowhere])")
            for number, entered in enumerate(templates):
                more = {"key_template": entered} if entered else {}
                config = {**case.config, **more, "storage_class": "STANDARD_IA"}
                destination = a_destination("aws_s3", config, case.credentials)
                sink = load_sinks().open(destination, resources)
                await sink.deliver(a_delivery(f"evt_{number}", b'{"customer":"c1"}'))
                await sink.aclose()
        found = dict(await asyncio.to_thread(objects_of, client, bucket))
        default = "2026-01-01T00:00:00Z_evt_{}.json"
        assert found.keys() == {default.format(0), "user.created/c1", default.format(2)}
        assert {answer["StorageClass"] for answer in found.values()} == {"STANDARD_IA"}
        client.close()
