"""Services that only sinks need."""

from collections.abc import Iterator

import pytest

from tests import services
from tests.contracts.sinks.aws_server import Aws, started


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """Services of AWS: `.url`, `.credentials`, `.client(service)`."""
    with started() as found:
        yield found


@pytest.fixture(scope="session")
def elasticmq() -> Iterator[services.ElasticMq]:
    """Queues of SQS, for any credentials: `.url`."""
    found = services.elasticmq()
    yield found
    found.kill()
