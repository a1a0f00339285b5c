"""Batches in a bucket, on a server that speaks S3's API."""

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from event_router.client import BadArgument, BatchPublishType, Client
from event_router.client.sources import PART, open_source
from event_router.schemas.errors import Unavailable
from tests.client.routers import FakeRouter, blocking, done

SECRET = "the-secret-of-the-bucket"
CREDENTIALS = {"aws_access_key_id": "key-id", "aws_secret_access_key": SECRET}
CSV = b"id,amount\na,1\n"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> Any:
    """A client of the server, which has a bucket with a few objects."""
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **CREDENTIALS)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="2026/events.csv", Body=CSV)
    s3.put_object(Bucket="bucket", Key="large.csv", Body=b"x" * (PART + 5))
    s3.put_object(Bucket="bucket", Key="empty.csv", Body=b"")
    s3.put_object(Bucket="bucket", Key="events.pkl", Body=b"\x80\x04")
    return s3


@pytest.fixture(autouse=True)
def surroundings(endpoint: str, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where boto3 looks without being told."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


async def test_an_object_is_read_by_the_client_and_its_credentials_stay_there(
    client: Any, router: FakeRouter
) -> None:
    await done(
        client.publish_events_batch(
            "acme",
            "orders",
            "s3://bucket/2026/events.csv",
            data_source=BatchPublishType.AWS_S3,
            credentials=CREDENTIALS,
        )
    )
    assert router.files == {"abcde_events.csv": CSV}
    sent = [*(request.content for request in router.requests)]
    sent += [str(request.headers).encode() for request in router.requests]
    assert not any(SECRET.encode() in one or b"key-id" in one for one in sent)


def test_credentials_of_the_surroundings_do_too(
    router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name.upper(), value)
    blocking(router).publish_events_batch("acme", "orders", "s3://bucket/large.csv")
    assert [len(part) for part in router.parts["u1"].values()] == [PART, 5]


def test_googles_storage_speaks_the_same(router: FakeRouter, endpoint: str) -> None:
    credentials = {
        "gcs_access_key_id": "key-id",
        "gcs_secret_access_key": SECRET,
        "endpoint_url": endpoint,
    }
    blocking(router).publish_events_batch(
        "acme", "orders", "gs://bucket/2026/events.csv", credentials=credentials
    )
    assert router.files == {"abcde_events.csv": CSV}


def test_an_object_that_is_replaced_meanwhile_is_not_mixed(bucket: Any) -> None:
    bucket.put_object(Bucket="bucket", Key="moving.csv", Body=b"x" * (PART + 5))
    source = open_source("s3://bucket/moving.csv", None, CREDENTIALS)
    parts = source.parts()
    next(parts)
    bucket.put_object(Bucket="bucket", Key="moving.csv", Body=b"y" * (PART + 5))
    with pytest.raises(BadArgument, match=r"s3://bucket/moving.csv.*can be read"):
        next(parts)
    source.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "s3://bucket/nowhere.csv",
            "'s3://bucket/nowhere.csv' is not an object that can be read: Not Found",
        ),
        ("s3://other/x", "can be read"),
        ("s3://bucket/empty.csv", "a batch with at least one row"),
        ("s3://bucket/events.pkl", "a pickle isn't read"),
        ("s3://bucket", "a bucket and a key"),
        ("s3:///x", "a bucket and a key"),
    ],
)
def test_an_object_that_cant_be_had_is_said_so(router: FakeRouter, url: str, said: str) -> None:
    client: Client = blocking(router)
    with pytest.raises(BadArgument, match=said) as caught:
        client.publish_events_batch("acme", "orders", url, credentials=CREDENTIALS)
    assert SECRET not in str(caught.value)
    assert router.requests == []


def test_a_credential_of_another_name_is_refused_without_its_value(router: FakeRouter) -> None:
    with pytest.raises(BadArgument, match="credentials: 'password' is not one of") as caught:
        blocking(router).publish_events_batch(
            "acme", "orders", "s3://bucket/x", credentials={"password": SECRET}
        )
    assert SECRET not in str(caught.value)


def test_a_bucket_that_nobody_answers_for_is_unavailable() -> None:
    credentials = {**CREDENTIALS, "endpoint_url": "http://127.0.0.1:9"}
    with pytest.raises(Unavailable, match="s3: s3://bucket/x"):
        open_source("s3://bucket/x", None, credentials)
