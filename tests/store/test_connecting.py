"""How PostgreSQL is connected to."""

from typing import Any

import pytest
from sqlalchemy import event

from event_router.router.store.database import make_engine


def connecting(url: str) -> dict[str, Any]:
    """What the driver would be given."""
    given: dict[str, Any] = {}
    engine = make_engine(url)

    @event.listens_for(engine, "do_connect")
    def seen(_dialect: object, _record: object, _args: object, values: dict[str, Any]) -> None:
        given.update(values)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        engine.connect()
    return given


def test_a_server_that_vanishes_is_given_up_within_half_a_minute() -> None:
    given = connecting("postgresql://router@127.0.0.1/router")
    keepalives = given["keepalives_interval"] * given["keepalives_count"]
    assert given["keepalives_idle"] + keepalives <= 30
    assert given["tcp_user_timeout"] <= 30_000


def test_what_the_url_says_counts() -> None:
    given = connecting("postgresql://router@127.0.0.1/router?tcp_user_timeout=7000")
    assert given["tcp_user_timeout"] == "7000"
