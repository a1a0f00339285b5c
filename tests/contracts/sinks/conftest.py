"""Services that only sinks need."""

from collections.abc import Iterator

import pytest

from tests.contracts.sinks.aws_server import Aws, started


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """Services of AWS: `.url`, `.credentials`, `.client(service)`."""
    with started() as found:
        yield found
