"""What may be entered for a webhook over TLS, and that a refusal repeats nothing of a key."""

import re
from datetime import UTC, datetime

import pytest

from event_router.consumers.sinks.kinds import load_sinks
from event_router.schemas.errors import InvalidValue
from tests.https import issued, trusted

SINKS = load_sinks()
URL = "https://a.example/"
NOW = 1_700_000_000_000
LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)


def refused(credentials: dict[str, str], config: dict[str, str] | None = None) -> str:
    """What is said of a webhook that can't be."""
    with pytest.raises(InvalidValue) as caught:
        merged = SINKS.merge_credentials("webhook", {}, credentials, NOW, admin=True)
        SINKS.check("webhook", {"url": URL, **(config or {})}, merged)
    said = str(caught.value)
    entered = "".join([*credentials.values(), *(config or {}).values()])
    for line in re.findall(r"[A-Za-z0-9+/]{20,}", entered):
        assert line[:20] not in said
    return said


def test_a_certificate_its_key_and_authorities_are_taken_as_they_are() -> None:
    config = {"url": URL, "ca_certificate": trusted()}
    credentials = {"secret": "whsec_" + "A" * 32, **issued("client").credentials}
    assert SINKS.check("webhook", config, credentials) == (config, credentials)


def test_a_certificate_that_is_none_is_refused() -> None:
    given = {**issued("client").credentials, "client_certificate": "a certificate"}
    assert refused(given).startswith("credentials.client_certificate: '***' is not PEM")


def test_the_key_of_another_certificate_is_refused() -> None:
    given = {**issued("client").credentials, "client_key": issued("client").key}
    assert refused(given).startswith("credentials.client_key: '***' is not the key of")


@pytest.mark.parametrize("name", ["client_certificate", "client_key"])
def test_one_without_the_other_is_refused(name: str) -> None:
    assert "entered together" in refused({name: issued("client").credentials[name]})


@pytest.mark.parametrize("line_break", ["\n", " "])
def test_a_certificate_that_has_expired_is_refused(line_break: str) -> None:
    old = issued("client", ended=LONG_AGO)
    given = {**old.credentials, "client_certificate": old.certificate.replace("\n", line_break)}
    said = refused(given)
    assert "one that is still valid: it ended at 2021-01-01T00:00:00+00:00" in said


def test_one_that_expired_since_does_not_stand_in_the_way_of_other_changes() -> None:
    stored = issued("client", ended=LONG_AGO).credentials
    same = {**stored, "rotate_secret": "true"}
    merged = SINKS.merge_credentials("webhook", stored, same, NOW, admin=True)
    assert stored.items() <= SINKS.check("webhook", {"url": URL}, merged).credentials.items()


@pytest.mark.parametrize("admin", [True, False])
def test_a_tenant_may_set_change_and_take_away_a_certificate(admin: bool) -> None:
    old = {"secret": "s", **issued("client").credentials}
    new = issued("client").credentials
    merged = SINKS.merge_credentials("webhook", old, new, NOW, admin=admin)
    assert merged == {"secret": "s", **new}
    without = {"client_certificate": None, "client_key": None}
    merged = SINKS.merge_credentials("webhook", old, without, NOW, admin=admin)
    assert merged == {"secret": "s"}


def test_authorities_that_are_none_are_refused() -> None:
    said = refused({}, {"ca_certificate": "trust me"})
    assert said.startswith("config.ca_certificate: 'trust me' is not PEM")


@pytest.mark.parametrize("before", ["", trusted()])
def test_a_key_among_the_authorities_is_refused_and_not_repeated(before: str) -> None:
    said = refused({}, {"ca_certificate": before + issued("client").key})
    assert said.startswith("config.ca_certificate: '***' is not PEM")


@pytest.mark.parametrize("given", ["certificate", "authorities"])
def test_tls_material_needs_a_url_with_tls(given: str) -> None:
    config = {"url": "http://a.example/"}
    credentials = {}
    if given == "certificate":
        credentials = issued("client").credentials
    else:
        config["ca_certificate"] = trusted()
    assert "is not an https URL" in refused(credentials, config)
