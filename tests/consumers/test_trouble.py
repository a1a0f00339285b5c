"""What is said of a failed delivery has no secret in it, nor a part of one."""

import json

import pytest
from pydantic import Field

from event_router.consumers.sinks.fields import Fields
from event_router.consumers.sinks.trouble import Troubles

KEY = "bXkgc2VjcmV0IGtleSBmb3IgdGVzdHM9"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSj\n-----END-----\n"


class Credentials(Fields):
    """One secret."""

    secret: str = Field(repr=False)
    name: str = "shown"


@pytest.mark.parametrize(
    ("secret", "part"),
    [
        ("a-password", "a-password"),
        (f"Endpoint=sb://n.example.com/;SharedAccessKeyName=k;SharedAccessKey={KEY}", KEY),
        (
            json.dumps({"type": "service_account", "private_key": PEM}),
            "MIIEvQIBADANBgkqhkiG9w0BAQEF",
        ),
    ],
)
def test_a_secret_and_what_is_a_key_in_it_are_not_told(secret: str, part: str) -> None:
    troubles = Troubles(Credentials(secret=secret))
    for told in (troubles.told(f"refused: {part} (service_account)"), troubles.told(secret)):
        assert part not in told
    assert "shown, n, k" in troubles.told("shown, n, k")


def test_what_is_left_out_is_no_secret() -> None:
    class Optional(Fields):
        password: str | None = Field(None, repr=False)

    troubles = Troubles(Optional(password=None))
    assert troubles.told("None is known") == "None is known"
