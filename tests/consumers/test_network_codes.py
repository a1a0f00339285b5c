"""What went wrong with a connection is known by Python's classes and by the error's number."""

import errno

import pytest

from event_router.consumers.network_codes import network_code


class OfALibrary(OSError):
    """As aiohttp's errors are, which keep the number."""


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ECONNREFUSED, "connection_refused"),
        (errno.ECONNRESET, "connection_reset"),
        (errno.EPIPE, "connection_reset"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.EHOSTUNREACH, "network_unreachable"),
        (errno.EIO, "network_error"),
    ],
)
@pytest.mark.parametrize("kind", [OSError, OfALibrary])
def test_an_errors_number_says_its_code(kind: type[OSError], number: int, code: str) -> None:
    assert network_code(kind(number, "of the system")) == code
