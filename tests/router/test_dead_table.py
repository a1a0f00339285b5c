"""What `router dead list` and `show` print."""

import io

import pytest
from rich.console import Console

from event_router.router.commands.dead import as_table, as_text
from event_router.router.store.log_ports import LoggedDead
from event_router.schemas.attempt import Dead, DeadHead
from event_router.schemas.record import Place

PLACE = "attempts:002:0000000000089:1795300653227"


@pytest.mark.parametrize("width", [80, 250])
def test_a_place_can_be_copied_however_wide_the_terminal_is(width: int) -> None:
    one = LoggedDead(PLACE, "d" * 36, "acme", "e" * 36, 0, "retries_exhausted", 1795300653227, None)
    out = io.StringIO()
    Console(width=width, file=out).print(as_table([one]))
    assert PLACE in out.getvalue()


@pytest.mark.parametrize("event", ["[/x]", "[red]urgent[/red]", "a[b"])
def test_no_name_of_an_event_keeps_the_others_from_being_seen(event: str) -> None:
    one = LoggedDead(PLACE, "d", "acme", event, 0, "retries_exhausted", 1795300653227, None)
    out = io.StringIO()
    Console(width=250, file=out).print(as_table([one]))
    assert f" {event} " in out.getvalue()


def test_no_record_acts_on_the_terminal_that_shows_it() -> None:
    headers: list[tuple[str, bytes | None]] = [("x\x1b]0;t\x07", b"\x1b[2J")]
    head = DeadHead("invalid_json", "\x9b31m", Place("events", 0, 7, 0), headers, 0)
    shown = as_text(Dead(head, b"\r\x08", "\x00\x1b[31m\u00fc\n\tok\x7f".encode()))
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    assert shown.endswith("\\x00\\x1b[31m\u00fc\n\tok\\x7f")
