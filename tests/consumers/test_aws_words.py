"""AWS' own words for a trouble are known, as its descriptions of the services list them."""

import botocore.session
import pytest

from event_router.consumers.sinks.aws import AwsCredentials, AwsService
from event_router.consumers.testing import local_resources

OPERATIONS = {
    "sqs": "SendMessageBatch",
    "sns": "PublishBatch",
    "kinesis": "PutRecords",
    "events": "PutEvents",
    "s3": "PutObject",
}
MEANINGS = {
    "Throttl": "throttled",
    "ThroughputExceeded": "throttled",
    "AccessDenied": "permission_denied",
    "Internal": "service_unavailable",
}


def words_of(service: str) -> set[str]:
    """What the errors of its operation are called on the wire."""
    model = botocore.session.Session().get_service_model(service)
    shapes = model.operation_model(OPERATIONS[service]).error_shapes
    return {shape.error_code for shape in shapes}


@pytest.mark.parametrize("service", OPERATIONS)
async def test_a_word_means_what_it_says(service: str) -> None:
    async with local_resources() as resources:
        ours = AwsService(
            service, "eu-west-1", None, AwsCredentials(key="k", secret="s", session=None), resources
        )
        said = {
            (word, ours.trouble(word, "").code, meaning)
            for word in words_of(service)
            for part, meaning in MEANINGS.items()
            if part in word
        }
    assert [one for one in said if one[1] != one[2]] == []


async def test_a_topic_that_is_published_to_too_fast_says_so() -> None:
    """It isn't among the errors of PublishBatch, where SNS says it nevertheless."""
    async with local_resources() as resources:
        ours = AwsService(
            "sns", "eu-west-1", None, AwsCredentials(key="k", secret="s", session=None), resources
        )
        assert ours.trouble("Throttled", "").code == "throttled"
