"""Signatures of Standard Webhooks: the vectors of the specification, and its own library."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from event_router.consumers.signing import key_of, new_secret, signature
from event_router.schemas.errors import InvalidValue

VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1649367553,
        b'{"email":"test@example.com","username":"test_user"}',
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
]


@pytest.mark.parametrize(("secret", "message_id", "timestamp", "body", "expected"), VECTORS)
def test_the_vectors_of_the_specification_hold(
    secret: str, message_id: str, timestamp: int, body: bytes, expected: str
) -> None:
    assert signature([key_of(secret)], message_id, timestamp, body) == expected


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1), st.text())
def test_the_library_agrees(message_id: str, body: str) -> None:
    secret = new_secret()
    now = datetime.now(tz=UTC)
    ours = signature([key_of(secret)], message_id, int(now.timestamp()), body.encode())
    assert ours == Webhook(secret).sign(message_id, now, body)


def test_during_a_rotation_both_secrets_verify() -> None:
    new, old = new_secret(), new_secret()
    now = int(datetime.now(tz=UTC).timestamp())
    signed = signature([key_of(new), key_of(old)], "id", now, b"{}")
    headers = {
        "webhook-id": "id",
        "webhook-timestamp": str(now),
        "webhook-signature": signed,
    }
    for secret in (new, old):
        assert Webhook(secret).verify(b"{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(b"{}", headers)


def test_a_new_secret_is_a_key_of_its_own() -> None:
    keys = {key_of(new_secret()) for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {48}


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "hunter2",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8I",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsec_" + "A" * 88,
        "whsec_\u00e9",
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(InvalidValue, match="24 to 64") as caught:
        key_of(secret, "credentials.secret")
    assert str(caught.value).startswith("credentials.secret: '***'")
