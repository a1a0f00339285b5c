"""Objects of S3, and of what speaks its API: read by the client, with credentials that stay here.

Each part is a request for a range of the very object that was there at first, so that a broken
connection costs a part, and an object that is replaced meanwhile is noticed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from event_router.client.bodies import BatchPublishType
from event_router.client.errors import BadArgument
from event_router.client.sources import PART, Source, empty, refuse_pickle
from event_router.schemas.errors import Unavailable

GOOGLE = "https://storage.googleapis.com"

_NAMES = {
    "aws_access_key_id": "aws_access_key_id",
    "aws_secret_access_key": "aws_secret_access_key",
    "aws_session_token": "aws_session_token",
    "gcs_access_key_id": "aws_access_key_id",
    "gcs_secret_access_key": "aws_secret_access_key",
    "gcs_session_token": "aws_session_token",
    "region_name": "region_name",
    "endpoint_url": "endpoint_url",
}
_REFUSED = frozenset({400, 401, 403, 404, 405, 412, 416})


def object_source(url: str, kind: BatchPublishType, credentials: Mapping[str, str]) -> Source:
    """Raises BadArgument for an object that can't be had, and Unavailable when nobody answers.

    Without `credentials` boto3 looks for them where it always does.
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or not key:
        raise BadArgument("events_path", url, "a bucket and a key: s3://bucket/key")
    client = _client(kind, credentials)
    try:
        head = _head(client, bucket, key, url)
    except BaseException:
        client.close()
        raise
    total = head["ContentLength"]
    source = Source(key.rpartition("/")[2], "bytes", total, release=client.close)
    wanted = {"Bucket": bucket, "Key": key, "IfMatch": head["ETag"]}
    source.chunks = _read(client, wanted, source, url)
    return source


def _head(client: Any, bucket: str, key: str, url: str) -> Mapping[str, Any]:
    with _ours(url):
        head: Mapping[str, Any] = client.head_object(Bucket=bucket, Key=key)
    if not head["ContentLength"]:
        raise empty()
    return head


def _client(kind: BatchPublishType, credentials: Mapping[str, str]) -> Any:
    try:
        import boto3
    except ModuleNotFoundError as error:
        advice = "read with boto3: pip install 'event-router[s3]'"
        raise BadArgument("data_source", kind.name, advice) from error
    options = {"endpoint_url": GOOGLE} if kind is BatchPublishType.GCP_STORAGE else {}
    for name, value in credentials.items():
        if name not in _NAMES:
            raise BadArgument("credentials", name, f"one of {', '.join(_NAMES)}")
        options[_NAMES[name]] = value
    with _ours(kind.name):
        return boto3.client("s3", **options)


def _read(client: Any, wanted: Mapping[str, str], source: Source, url: str) -> Iterator[bytes]:
    total = source.total or 0
    for start in range(0, total, PART):
        span = f"bytes={start}-{min(start + PART, total) - 1}"
        with _ours(url):
            chunk: bytes = client.get_object(**wanted, Range=span)["Body"].read()
        if not start:
            refuse_pickle(source.name, chunk[:2])
        source.done += len(chunk)
        yield chunk


@contextmanager
def _ours(url: str) -> Iterator[None]:
    """Foreign errors become ours, without a secret in them."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        reason = error.response.get("Error", {}).get("Message") or str(status)
        if status in _REFUSED:
            raise BadArgument(
                "events_path", url, f"an object that can be read: {reason}"
            ) from error
        raise Unavailable("s3", f"{url}: {reason}") from error
    except BotoCoreError as error:
        raise Unavailable("s3", f"{url}: {error}") from error
