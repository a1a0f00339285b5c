import pytest

from event_router.router.redis_address import read_redis_url
from event_router.schemas.errors import InvalidValue


def test_what_a_url_does_not_say_is_as_usual() -> None:
    address = read_redis_url("redis://")
    assert (address.host, address.port, address.path, address.db) == ("127.0.0.1", 6379, "", 0)
    assert (address.username, address.password, address.tls_context()) == ("", "", None)


def test_credentials_are_decoded() -> None:
    address = read_redis_url("redis://me:p%40ss%2Fword@[::1]:7000/3")
    assert (address.username, address.password) == ("me", "p@ss/word")
    assert (address.host, address.port, address.db) == ("::1", 7000, 3)


def test_a_password_needs_no_user() -> None:
    address = read_redis_url("redis://:secret@host")
    assert (address.username, address.password) == ("", "secret")


def test_the_query_names_the_database_where_the_path_is_a_socket() -> None:
    address = read_redis_url("unix:///run/valkey%20x.sock?db=2")
    assert (address.path, address.db) == ("/run/valkey x.sock", 2)


def test_tls_verifies_unless_it_is_told_not_to() -> None:
    context = read_redis_url("rediss://host").tls_context()
    assert context is not None
    assert context.check_hostname
    careless = read_redis_url("rediss://host?ssl_cert_reqs=none").tls_context()
    assert careless is not None
    assert not careless.check_hostname


@pytest.mark.parametrize("url", ["", "http://u:secret@h", "redis://u:secret@h/x", "unix://"])
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidValue, match="redis://") as refused:
        read_redis_url(url)
    assert "secret" not in str(refused.value)
