"""Certificates and keys as people enter them."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from pydantic import ValidationError

from event_router.consumers.sinks.fields import Fields
from event_router.consumers.sinks.tls import (
    CA_CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Certificates,
    ClientKey,
    tls_of,
)
from event_router.consumers.tls import pem_file, tls_context


class Config(Fields):
    tls: bool = True
    ca_certificate: Certificates | None = CA_CERTIFICATE


class Credentials(Fields):
    client_certificate: Certificates | None = CLIENT_CERTIFICATE
    client_key: ClientKey = CLIENT_KEY


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pem(authority: trustme.CA) -> str:
    return text_of(authority.cert_pem)


@pytest.fixture(scope="module")
def pair(authority: trustme.CA) -> dict[str, str]:
    return a_pair(authority)


def text_of(blob: trustme.Blob) -> str:
    return str(blob.bytes(), "ascii")


def a_pair(authority: trustme.CA) -> dict[str, str]:
    issued = authority.issue_cert("client@example.org")
    return {
        "client_certificate": text_of(issued.cert_chain_pems[0]),
        "client_key": text_of(issued.private_key_pem),
    }


def encrypted(key: str) -> str:
    loaded = serialization.load_pem_private_key(key.encode(), None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a-passphrase"),
    ).decode()


@pytest.mark.parametrize("spoilt", ["\n", " ", "", "\\n", "\r\n"])
def test_line_breaks_that_a_form_took_are_put_back(pem: str, spoilt: str) -> None:
    begin, end = "-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----"
    body = pem.partition(begin)[2].partition(end)[0]
    entered = f"{begin[:-1]}{spoilt}{body.replace(chr(10), spoilt)}{spoilt}{end[1:]}"
    assert Config(ca_certificate=entered).ca_certificate == pem


def test_several_authorities_are_trusted_and_what_is_written_between_is_dropped(pem: str) -> None:
    other = text_of(trustme.CA().cert_pem)
    entered = Config(ca_certificate=f"# ours\n{pem}\n# theirs\n{other}").ca_certificate
    assert entered == pem + other
    assert len(tls_context(entered).get_ca_certs()) == 2


def test_a_given_authority_is_trusted_alone_and_names_are_checked(pem: str) -> None:
    context = tls_context(pem)
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "entered", ["", "a certificate", "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_is_refused(entered: str) -> None:
    with pytest.raises(ValidationError):
        Config(ca_certificate=entered)


def test_a_key_is_not_taken_among_certificates(pem: str, pair: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="BEGIN CERTIFICATE"):
        Config(ca_certificate=pem + pair["client_key"])


def test_an_authority_without_tls_is_a_mistake(pem: str) -> None:
    with pytest.raises(ValidationError, match="left out where tls is false"):
        Config(tls=False, ca_certificate=pem)


def test_a_certificate_with_its_key_can_be_shown(pem: str, pair: dict[str, str]) -> None:
    entered = Credentials(**pair)
    tls_context(pem, entered.client_certificate, entered.client_key)
    assert Credentials() == Credentials(client_certificate=None, client_key=None)


def test_parameters_before_a_key_are_dropped(pair: dict[str, str]) -> None:
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    entered = Credentials(**{**pair, "client_key": parameters + pair["client_key"]})
    assert entered.client_key == pair["client_key"]


def test_a_certificate_and_a_key_are_entered_together(
    authority: trustme.CA, pair: dict[str, str]
) -> None:
    certificate, key = pair["client_certificate"], pair["client_key"]
    half: list[dict[str, Any]] = [{"client_certificate": certificate}, {"client_key": key}]
    wrong: list[dict[str, Any]] = [
        {**pair, "client_key": a_pair(authority)["client_key"]},
        {**pair, "client_key": encrypted(key)},
        {**pair, "client_key": certificate},
    ]
    for entered in (*half, *wrong):
        with pytest.raises(ValidationError) as caught:
            Credentials(**entered)
        assert [error["loc"] for error in caught.value.errors()] == [("client_key",)]


def test_those_who_trust_the_system_share_a_context(
    pem: str, pair: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tls_of(Config(), Credentials())
    assert shared is tls_of(Config(), Credentials())
    assert tls_of(Config(tls=False), Credentials()) is None
    for own in (
        tls_of(Config(ca_certificate=pem), Credentials()),
        tls_of(Config(), Credentials(**pair)),
    ):
        assert own is not shared
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    assert tls_of(Config(), Credentials()) is not shared


def test_a_file_is_there_while_it_is_needed_and_for_nobody_else(pem: str) -> None:
    with pem_file(pem, pem) as path:
        assert Path(path).read_text() == pem * 2
        assert Path(path).stat().st_mode & 0o077 == 0
    assert not Path(path).exists()
